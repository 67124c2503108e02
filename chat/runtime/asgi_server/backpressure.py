"""Back-pressure: an application that sends waits while its client does not read."""

from __future__ import annotations

import asyncio
from typing import Any

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
