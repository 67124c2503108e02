"""Close open connections whose session or API key is not valid any more.

Closing one never delays a tick of the heartbeat: it happens in a task of its own, and a connection that
cannot be closed is abandoned.
"""

from __future__ import annotations

import asyncio
import logging

from chat.background import BackgroundTasks
from chat.models.api_key import ApiKey
from chat.models.session import SessionCheck
from chat.runtime.connections import Connections, OpenSocket
from chat.runtime.database_thread import DatabaseReader

logger = logging.getLogger(__name__)

# Sessions are checked at every third tick: a socket closes within 5 s of the end of its session.
CHECK_EVERY_TICKS = 3
# A client that reads nothing does not answer a close frame either.
CLOSE_TIMEOUT_S = 5.0


class SessionExpiry:
    """Watches the sessions and keys of one process's connections."""

    def __init__(self, connections: Connections, background: BackgroundTasks, read: DatabaseReader) -> None:
        self._connections = connections
        self._background = background
        self._read = read
        self._session_check = SessionCheck()
        self._ticks = 0

    async def close_ended(self) -> None:
        """Close the connections whose session or key has ended. Called at every tick."""
        self._ticks += 1
        if self._ticks % CHECK_EVERY_TICKS:
            return
        await self._close_sockets()
        await self._close_streams()

    async def _close_sockets(self) -> None:
        sockets = list(self._connections.sockets)
        pairs = {(socket.session_key, socket.user_id) for socket in sockets}
        valid = await self._read(lambda: self._session_check.valid(pairs)) if pairs else set()
        for socket in sockets:
            if (socket.session_key, socket.user_id) not in valid:
                self._connections.sockets.discard(socket)
                self._background.start(_close(socket), f"close a socket of user {socket.user_id}")

    async def _close_streams(self) -> None:
        streams = list(self._connections.streams)
        ids = {stream.api_key_id for stream in streams}
        valid = await self._read(lambda: ApiKey.objects.valid_ids(ids)) if ids else set()
        for stream in streams:
            if stream.api_key_id not in valid:
                stream.close("invalid_api_key")


async def _close(socket: OpenSocket) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close()
    except TimeoutError:
        logger.info("a socket of user %d does not close; the server ends it later", socket.user_id)
