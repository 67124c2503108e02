"""Open connections: websockets of signed-in users and event streams of API keys.

A connection ends with the session or key that it was opened with. Closing one never delays a tick of
the heartbeat: it happens in a task of its own, and a connection that cannot be closed is abandoned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chat.background import BackgroundTasks
from chat.models.api_key import ApiKey
from chat.models.session import SessionCheck
from chat.runtime.database_thread import DatabaseReader

logger = logging.getLogger(__name__)

# Sessions are checked at every second tick: a socket closes within 5 s of the end of its session.
CHECK_EVERY_TICKS = 2
# A client that reads nothing does not answer a close frame either.
CLOSE_TIMEOUT_S = 5.0
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

    def __init__(self, background: BackgroundTasks) -> None:
        self.sockets: set[OpenSocket] = set()
        self.streams: set[OpenStream] = set()
        # Held while a connection's large request body is parsed.
        self.body_parsers = asyncio.Semaphore(BODY_PARSERS_MAX)
        self._background = background
        self._session_check = SessionCheck()
        self._ticks = 0

    async def close_ended(self, read: DatabaseReader) -> None:
        """Close the connections whose session or key is not valid any more. Called at every tick."""
        self._ticks += 1
        if self._ticks % CHECK_EVERY_TICKS:
            return
        await self._close_sockets(read)
        await self._close_streams(read)

    def close_streams(self, code: str) -> None:
        """Close every event stream, with the error `code`."""
        for stream in tuple(self.streams):
            stream.close(code)

    async def _close_sockets(self, read: DatabaseReader) -> None:
        sockets = list(self.sockets)
        pairs = {(socket.session_key, socket.user_id) for socket in sockets}
        valid = await read(lambda: self._session_check.valid(pairs)) if pairs else set()
        for socket in sockets:
            if (socket.session_key, socket.user_id) not in valid:
                self.sockets.discard(socket)
                self._background.start(_close(socket), f"close a socket of user {socket.user_id}")

    async def _close_streams(self, read: DatabaseReader) -> None:
        streams = list(self.streams)
        ids = {stream.api_key_id for stream in streams}
        valid = await read(lambda: ApiKey.objects.valid_ids(ids)) if ids else set()
        for stream in streams:
            if stream.api_key_id not in valid:
                stream.close("invalid_api_key")


async def _close(socket: OpenSocket) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close()
    except TimeoutError:
        logger.info("a socket of user %d does not close; the server ends it later", socket.user_id)
