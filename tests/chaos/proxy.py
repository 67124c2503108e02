"""A TCP proxy between clients and a server, whose connections can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from typing import Self

READ_BYTES = 65_536


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # Bytes that still reach the client before the link breaks; None: no limit.
    left_bytes: int | None = None
    # The client has disconnected, and the server does not notice.
    is_half_open: bool = False

    def reset(self) -> None:
        reset(self.client.transport)
        reset(self.server.transport)


class Proxy:
    """A context manager that listens on `port` and forwards each connection to `to_port`."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._links: list[_Link] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in list(self._links):
            link.reset()
        await self._server.wait_closed()

    def cut(self, rng: random.Random) -> None:
        """Reset a link at both ends, now or in the middle of the next frame."""
        if self._links:
            link = rng.choice(self._links)
            if rng.random() < 0.5:
                link.reset()
            else:
                link.left_bytes = rng.randrange(100)

    def make_half_open(self, rng: random.Random) -> None:
        """Reset a client's end of a link; the server's end stays open and silent."""
        if self._links:
            link = rng.choice(self._links)
            link.is_half_open = True
            reset(link.client.transport)

    async def _serve(self, from_page: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            reset(client.transport)
            return
        link = _Link(client, server)
        self._links.append(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._up(link, from_page))
                tasks.create_task(self._down(link, from_server))
        finally:
            self._links.remove(link)
            link.reset()

    async def _up(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                link.server.write(data)
                await link.server.drain()
        if not link.is_half_open:
            link.reset()

    async def _down(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if link.is_half_open:
                    continue
                link.client.write(data if link.left_bytes is None else data[: link.left_bytes])
                await link.client.drain()
                if link.left_bytes is not None:
                    link.left_bytes -= len(data)
                    if link.left_bytes <= 0:
                        break
        link.reset()


def reset(transport: asyncio.BaseTransport) -> None:
    """Close a connection with a TCP reset."""
    found = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # closed already
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()
