"""The event log of one process: open a generation's log, append to it, finish it, follow it.

Text is committed before any follower sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from chat import events
from chat.event_log.follow import follow
from chat.event_log.lease import Lease, LogRow
from chat.event_log.topics import Topic, Topics
from chat.event_log.writer import Writer

# How long a finished log stays in memory.
LINGER_S = 2.0


class EventLog:
    """The logs that one process writes and follows."""

    def __init__(self, writer: Writer) -> None:
        """Write through `writer`, which the caller closes."""
        self.writer = writer
        self.topics = Topics()

    def open_lease(
        self, generation_id: int, *, owner: str, epoch: int, seq: int, on_failure: Callable[[Exception], None]
    ) -> Lease:
        """Open the log of a generation that was just claimed, after `seq`; on the loop that runs it.

        `on_failure` is called on that loop if the lease is lost, or if its rows cannot be written.
        """
        loop = asyncio.get_running_loop()
        topic = self.topics.open(generation_id, first_seq=seq + 1)

        def fail(failure: Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self._fail, generation_id, topic, failure, on_failure)

        publish = partial(self.topics.dispatcher(loop).put, topic)
        return Lease(generation_id, owner, epoch, seq, publish, fail)

    async def append(self, lease: Lease, event: events.Event) -> None:
        """Add an event to the log. Returns before it is committed, unless the disk is far behind.

        Raises LeaseLost, or the error that kept earlier events from being written.
        """
        self.writer.append(lease, event)
        await self.writer.drained(lease)

    async def prepare_end[T](self, lease: Lease, operation: Callable[[], T]) -> T:
        """Run a part of what ends the generation, in a transaction of its own. Raises as `finish`."""
        return await self.writer.result_of(lambda: self.writer.run_guarded(lease, operation))

    async def finish(self, lease: Lease, event: events.Terminal, operation: Callable[[], Any]) -> None:
        """Commit the last event, and the generation's final state written by `operation`, as one.

        Raises LeaseLost if another process took the generation over; nothing is written then.
        """
        await self.writer.result_of(lambda: self.writer.run_guarded(lease, operation, event))
        topic = self.topics.get(lease.generation_id)
        if topic is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(LINGER_S, self.topics.close, lease.generation_id, topic)

    def follow(
        self, generation_id: int, *, after: int = 0, is_about_to_start: bool = False
    ) -> AsyncIterator[list[LogRow]]:
        """Yield committed events above seq `after`; see `follow.follow`."""
        return follow(self.topics, generation_id, after=after, is_about_to_start=is_about_to_start)

    def _fail(
        self,
        generation_id: int,
        topic: Topic,
        failure: Exception,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.topics.close(generation_id, topic)
        on_failure(failure)
