"""A network that can be cut: passes bytes on between pages and a server."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Self

from tests.chaos.person import reset

READ_BYTES = 65_536


@dataclass(eq=False)
class _Line:
    page: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # How many more bytes reach the page before the line breaks; None: all.
    left_bytes: int | None = None
    # The page is gone, and the server hears nothing of it.
    is_forsaken: bool = False

    def reset(self) -> None:
        reset(self.page.transport)
        reset(self.server.transport)


class Proxy:
    """Listens on `port` while it is entered, and connects each caller to `to_port`."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._lines: list[_Line] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for line in list(self._lines):
            line.reset()
        await self._server.wait_closed()

    def cut(self, dice: random.Random) -> None:
        """Reset a line at both ends, now or in the midst of the next frame."""
        if self._lines:
            line = dice.choice(self._lines)
            if dice.random() < 0.5:
                line.reset()
            else:
                line.left_bytes = dice.randrange(100)

    def forsake(self, dice: random.Random) -> None:
        """Reset a page's end of a line; the server's end stays open, and hears nothing."""
        if self._lines:
            line = dice.choice(self._lines)
            line.is_forsaken = True
            reset(line.page.transport)

    async def _serve(self, from_page: asyncio.StreamReader, page: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            reset(page.transport)
            return
        line = _Line(page, server)
        self._lines.append(line)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._up(line, from_page))
                tasks.create_task(self._down(line, from_server))
        finally:
            self._lines.remove(line)
            line.reset()

    async def _up(self, line: _Line, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                line.server.write(data)
                await line.server.drain()
        if not line.is_forsaken:
            line.reset()

    async def _down(self, line: _Line, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if line.is_forsaken:
                    continue
                line.page.write(data if line.left_bytes is None else data[: line.left_bytes])
                await line.page.drain()
                if line.left_bytes is not None:
                    line.left_bytes -= len(data)
                    if line.left_bytes <= 0:
                        break
        line.reset()
