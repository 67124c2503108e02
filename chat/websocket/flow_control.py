"""Flow control: at most ACK_WINDOW_BYTES are sent to a page that has not acknowledged them.

The web server itself would buffer without bound for a client that does not read.
"""

from __future__ import annotations

import asyncio
from collections import deque


class SendWindow:
    """How many unacknowledged bytes one socket may still be sent, over all generations it follows."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._unacknowledged_bytes = 0
        self._room = asyncio.Event()

    async def wait_for_room(self) -> None:
        """Wait until less than the limit is unacknowledged."""
        while self._unacknowledged_bytes > self._limit_bytes:
            self._room.clear()
            await self._room.wait()

    def sent(self, size_bytes: int) -> None:
        self._unacknowledged_bytes += size_bytes

    def acknowledged(self, size_bytes: int) -> None:
        self._unacknowledged_bytes -= size_bytes
        self._room.set()


class FollowedGeneration:
    """The events of one generation that a socket was sent and has not acknowledged."""

    def __init__(self, window: SendWindow) -> None:
        self._window = window
        # (seq, bytes)
        self._sent: deque[tuple[int, int]] = deque()

    async def wait_for_room(self) -> None:
        await self._window.wait_for_room()

    def sent(self, seq: int, size_bytes: int) -> None:
        """Note an event that was sent."""
        self._sent.append((seq, size_bytes))
        self._window.sent(size_bytes)

    def acknowledge(self, seq: int) -> None:
        """Note that the page has drawn every event up to `seq`."""
        size_bytes = 0
        while self._sent and self._sent[0][0] <= seq:
            size_bytes += self._sent.popleft()[1]
        self._window.acknowledged(size_bytes)

    def forget(self) -> None:
        """Give the rest back to the window: the socket does not follow this generation any more."""
        self._window.acknowledged(sum(size_bytes for _seq, size_bytes in self._sent))
        self._sent.clear()
