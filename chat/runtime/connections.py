"""Open connections: the websockets of signed-in users and the event streams of API keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

# Each parser of a large request body is a child process, with several times the size of its body.
BODY_PARSERS_MAX = 2


@dataclass(eq=False, slots=True)
class OpenSocket:
    """A websocket. `close` is called, on the loop, when its session has ended."""

    user_id: int
    session_key: str
    close: Callable[[], Awaitable[None]]


@dataclass(eq=False, slots=True)
class OpenStream:
    """An event stream to a program. `close` is called, on the loop, with an error code."""

    api_key_id: int
    close: Callable[[str], None]


class Connections:
    """The open connections of one process. Belongs to its event loop."""

    def __init__(self) -> None:
        self.sockets: set[OpenSocket] = set()
        self.streams: set[OpenStream] = set()
        # Held while a connection's large request body is parsed.
        self.body_parsers = asyncio.Semaphore(BODY_PARSERS_MAX)

    def close_streams(self, code: str) -> None:
        """Close every event stream, with the error `code`."""
        for stream in tuple(self.streams):
            stream.close(code)
