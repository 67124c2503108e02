"""The writer: one thread that commits whatever must be fast: deltas, questions, claims and ends.

It is self-clocking: it takes everything that is pending for all generations, commits it in one
transaction, publishes the rows, and looks again. An idle system commits at once; the longer a commit takes,
the larger is the group that forms meanwhile. `commit.py` has the transaction itself.

`run` and `arun` execute any operation in the writer's next transaction. It need not concern a log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.db import connection

from chat import events
from chat.event_log.commit import WriteItem, commit, fail, keep_savepoints_in_memory
from chat.event_log.lease import Lease

logger = logging.getLogger(__name__)

# A question takes a millisecond or two; with this many per group, deltas wait for at most about 25 ms.
OPERATIONS_PER_GROUP = 16
# A group costs a transaction and two thread switches whatever it holds. So groups of deltas alone take only a
# share of the time: one starts at the earliest this many times the length of the previous one after that
# one has started, and not later than the next frame of a screen.
GROUP_EVERY_TIMES = 7
GROUP_EVERY_MAX_S = 0.016
# A run that is this far ahead of the disk waits for it.
BACKLOG_MAX_CHARS = 256 * 1024
# A commit that takes longer than this is reported by `problem`.
SLOW_COMMIT_S = 5.0


class Writer:
    """The interface of both writers."""

    def append(self, lease: Lease, event: events.Event) -> None:
        """Accept an event for a lease's log. Raises the failure that ended the lease before."""
        raise NotImplementedError

    def submit(self, operation: Callable[[], Any], *, user_id: int | None = None) -> Future[Any]:
        """Run `operation` in a transaction; its result or exception arrives after the commit.

        `user_id`: a user whose row `operation` locks. The locks of a group are taken in one order.
        """
        raise NotImplementedError

    def run_guarded(
        self, lease: Lease, operation: Callable[[], Any], event: events.Terminal | None = None
    ) -> Future[Any]:
        """Run `operation` in a transaction that is refused if the lease is lost.

        `event`: the generation's last one, appended in the same transaction.
        """
        raise NotImplementedError

    async def drained(self, lease: Lease) -> None:
        """Wait until this lease is not too far ahead of the disk."""
        raise NotImplementedError

    async def result_of[T](self, make: Callable[[], Future[T]]) -> T:
        """Call `make` and await its future, without blocking the event loop."""
        raise NotImplementedError

    def close(self) -> None:
        """Commit what is pending and end."""

    def problem(self) -> str | None:
        """Return what is wrong with this writer, or None."""
        return None

    def run[T](self, operation: Callable[[], T], *, user_id: int | None = None) -> T:
        """Run `operation` in one of the writer's transactions and return its result, committed."""
        result: T = self.submit(operation, user_id=user_id).result()
        return result

    async def arun[T](self, operation: Callable[[], T], *, user_id: int | None = None) -> T:
        """`run` for async callers."""
        return await self.result_of(lambda: self.submit(operation, user_id=user_id))


class InlineWriter(Writer):
    """Commits at once on the caller's thread: for tests and for commands that only store something."""

    def __init__(self) -> None:
        self._pending: list[WriteItem] = []

    def append(self, lease: Lease, event: events.Event) -> None:
        if lease.failure is not None:
            raise lease.failure
        self._pending.append(WriteItem(lease=lease, event=event))

    def submit(self, operation: Callable[[], Any], *, user_id: int | None = None) -> Future[Any]:
        return self._commit_now(WriteItem(operation=operation, result=Future(), user_id=user_id))

    def run_guarded(
        self, lease: Lease, operation: Callable[[], Any], event: events.Terminal | None = None
    ) -> Future[Any]:
        return self._commit_now(WriteItem(lease=lease, event=event, operation=operation, result=Future()))

    async def drained(self, lease: Lease) -> None:
        await sync_to_async(self._flush)()

    async def result_of[T](self, make: Callable[[], Future[T]]) -> T:
        result: T = await database_sync_to_async(lambda: make().result())()
        return result

    def _flush(self) -> None:
        items, self._pending = self._pending, []
        if items:
            commit(items)

    def _commit_now(self, item: WriteItem) -> Future[Any]:
        self._pending.append(item)
        self._flush()
        assert item.result is not None
        return item.result


class ThreadWriter(Writer):
    """The writer of a running process: a thread with a database connection of its own."""

    def __init__(self) -> None:
        """Start the thread."""
        self._condition = threading.Condition()
        self._deltas: list[WriteItem] = []
        self._operations: list[WriteItem] = []
        self._is_closing = False
        self._busy_since: float | None = None
        self._next_deltas_at_s = 0.0
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def append(self, lease: Lease, event: events.Event) -> None:
        if lease.failure is not None:
            raise lease.failure
        if isinstance(event, events.Delta | events.Thinking):
            lease.pending_chars += len(event.text)
        elif isinstance(event, events.ToolCall):
            lease.pending_chars += len(event.arguments)
        self._put(self._deltas, WriteItem(lease=lease, event=event))

    def submit(self, operation: Callable[[], Any], *, user_id: int | None = None) -> Future[Any]:
        result: Future[Any] = Future()
        self._put(self._operations, WriteItem(operation=operation, result=result, user_id=user_id))
        return result

    def run_guarded(
        self, lease: Lease, operation: Callable[[], Any], event: events.Terminal | None = None
    ) -> Future[Any]:
        result: Future[Any] = Future()
        item = WriteItem(lease=lease, event=event, operation=operation, result=result)
        self._put(self._operations, item)
        return result

    async def drained(self, lease: Lease) -> None:
        while lease.pending_chars > BACKLOG_MAX_CHARS and lease.failure is None:
            await asyncio.wrap_future(self.submit(lambda: None))

    async def result_of[T](self, make: Callable[[], Future[T]]) -> T:
        return await asyncio.wrap_future(make())

    def close(self) -> None:
        """Commit what is pending and end the thread."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join()

    def problem(self) -> str | None:
        busy_since = self._busy_since
        if not self._thread.is_alive():
            return "the writer thread has ended; restart the server"
        if busy_since is not None and time.monotonic() - busy_since > SLOW_COMMIT_S:
            return f"the database has not taken a commit for {time.monotonic() - busy_since:.0f} s"
        return None

    def _put(self, queue: list[WriteItem], item: WriteItem) -> None:
        with self._condition:
            if self._is_closing:
                raise RuntimeError("the writer is closed")
            queue.append(item)
            if len(queue) == 1:  # later items are found together with the first
                self._condition.notify()

    def _take(self) -> list[WriteItem] | None:
        """Wait for work. Return all deltas, then some operations; None at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._deltas or self._operations or self._is_closing)
            rest_s = self._next_deltas_at_s - time.monotonic()
            if rest_s > 0:
                self._condition.wait_for(lambda: self._operations or self._is_closing, rest_s)
            if not (self._deltas or self._operations):
                return None
            items = self._deltas + self._operations[:OPERATIONS_PER_GROUP]
            # The lists stay the same objects: `_put` received one of them before it had the lock.
            self._deltas.clear()
            del self._operations[:OPERATIONS_PER_GROUP]
        # From here on, a cancelled caller cannot take its work back; before, it is not started.
        return [item for item in items if item.result is None or item.result.set_running_or_notify_cancel()]

    def _loop(self) -> None:
        keep_savepoints_in_memory()
        while (items := self._take()) is not None:
            started_s = self._busy_since = time.monotonic()
            self._write(items)
            del items  # before the wait for more: an item may hold a whole answer
            self._busy_since = None
            length_s = time.monotonic() - started_s
            self._next_deltas_at_s = started_s + min(GROUP_EVERY_TIMES * length_s, GROUP_EVERY_MAX_S)
        connection.close()

    def _write(self, items: list[WriteItem]) -> None:
        for item in items:
            if item.lease is not None:
                item.lease.pending_chars = 0
        try:
            commit(items)
        except Exception as exc:  # from a follower's or caller's callback; the thread must live
            logger.exception("announcing a commit failed")
            fail(items, exc)
