"""Large request bodies: given to the application in pieces, over many turns of the event loop.

Daphne reads a whole body in one turn: 18 MB block all other connections for 15 to 40 ms.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

PIECE_BYTES = 256 * 1024
# Pieces that the application has not taken yet. It writes them to a disk, which is slower than reading them.
PIECES_AHEAD = 2
AHEAD_S = 0.002


class LargeBody:
    """Stands between Daphne and the queue of one request, and puts its body there in pieces."""

    def __init__(self, content: Any, queue: asyncio.Queue[dict[str, Any]]) -> None:
        self._content = content
        self._queue = queue
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def take(cls, request: Any, queue: asyncio.Queue[dict[str, Any]]) -> LargeBody | None:
        """Take the body out of Daphne's request, which then has an empty one; None for a small body."""
        if isinstance(request.content, io.BytesIO):  # Twisted keeps up to 100 kB in memory
            return None
        body = cls(request.content, queue)
        request.content = io.BytesIO()
        return body

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Accept a message from Daphne: the empty body starts the real one, and a disconnect ends it."""
        if message["type"] == "http.request":
            self._task = asyncio.get_running_loop().create_task(self._put_pieces(), name="request body")
            return
        if self._task is not None:
            self._task.cancel()
        self._queue.put_nowait(message)

    async def _put_pieces(self) -> None:
        with self._content:
            has_more = True
            while has_more:
                piece = self._content.read(PIECE_BYTES)
                has_more = len(piece) == PIECE_BYTES
                self._queue.put_nowait({"type": "http.request", "body": piece, "more_body": has_more})
                await asyncio.sleep(0)
                while self._queue.qsize() >= PIECES_AHEAD:  # noqa: ASYNC110 - a queue has no event for it
                    await asyncio.sleep(AHEAD_S)
