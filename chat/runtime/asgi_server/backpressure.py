"""Back-pressure: an application waits while its client does not read, and a client that floods waits, too."""

from __future__ import annotations

import asyncio
from typing import Any

# A page sends a few frames a second. A websocket may send this many at once, and this many per second.
FRAMES_AT_ONCE = 200
FRAMES_PER_S = 50.0
# What one websocket may have parsed in one turn of the event loop.
READ_BYTES = 4096
# A client that has read nothing for this long, while there was something to read, is gone.
SEND_STALL_S = 120.0


class WriteGate:
    """A Twisted push producer that is open while its transport accepts more bytes."""

    def __init__(self, consumer: Any) -> None:
        """Register with `consumer`, a transport or an HTTP channel."""
        self._consumer = consumer
        self._is_open = asyncio.Event()
        self._is_open.set()
        consumer.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self._is_open.clear()

    def resumeProducing(self) -> None:
        self._is_open.set()
        # A transport that is about to close waits until its producer is unregistered.
        if getattr(self._consumer, "disconnecting", False):
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        self._is_open.set()

    async def wait(self) -> None:
        """Wait until the gate is open. Raises TimeoutError after SEND_STALL_S."""
        if not self._is_open.is_set():
            async with asyncio.timeout(SEND_STALL_S):
                await self._is_open.wait()

    def remove(self) -> None:
        self._is_open.set()
        self._consumer.unregisterProducer()


class ReadGate:
    """Stands between Daphne and the queue of one websocket, and stops reading from a client that floods.

    Frames are parsed on the event loop: without a limit, a few clients would keep it from everything else.
    """

    def __init__(
        self, transport: Any, queue: asyncio.Queue[dict[str, Any]], loop: asyncio.AbstractEventLoop
    ) -> None:
        transport.bufferSize = READ_BYTES
        self._transport = transport
        self._queue = queue
        self._loop = loop
        self._allowance = float(FRAMES_AT_ONCE)
        self._updated_s = loop.time()
        self._is_paused = False

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Pass a message to the application, and count the frames of its client."""
        self._queue.put_nowait(message)
        if message["type"] != "websocket.receive":
            return
        now_s = self._loop.time()
        refill = (now_s - self._updated_s) * FRAMES_PER_S
        self._allowance = min(float(FRAMES_AT_ONCE), self._allowance + refill) - 1
        self._updated_s = now_s
        if self._allowance < 0 and not self._is_paused:
            self._is_paused = True
            self._transport.pauseProducing()
            self._loop.call_soon(self._resume_later)

    def _resume_later(self) -> None:
        """Schedule the end of the pause, once the rest of this read has been counted."""
        self._loop.call_later(max(0.0, -self._allowance / FRAMES_PER_S), self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        if self._transport.connected and not self._transport.disconnecting:
            self._transport.resumeProducing()


def write_eagerly(transport: Any) -> None:
    """Make a transport pass data to the kernel at once, as far as the kernel accepts it.

    Twisted writes in the next turn of the event loop, and registers the socket with epoll for that one
    turn. For small frames this costs more than everything else that is done for them.
    """
    write_later = transport.write

    def write(data: bytes) -> None:
        is_idle = not (transport.disconnecting or transport._tempDataBuffer or transport.dataBuffer)
        if transport.connected and is_idle:
            sent = transport.writeSomeData(data)
            # An exception is returned if the connection is lost; the ordinary write reports that, too.
            data = data[sent:] if isinstance(sent, int) else data
        if data:
            write_later(data)

    transport.write = write
