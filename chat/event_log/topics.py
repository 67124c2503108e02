"""In-process fan-out: the newest committed rows of the logs that this process writes, for followers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from chat.event_log.lease import LogRow

# How many bytes of a running log are kept in memory for followers that are a little behind.
MEMORY_MAX_BYTES = 256 * 1024


class Topic:
    """The newest committed rows of one log, and the followers that wait for more."""

    def __init__(self, *, first_seq: int) -> None:
        """Create an empty topic whose first row will have the seq `first_seq`."""
        self._first_seq = first_seq
        self._rows: list[LogRow] = []
        self._size_bytes = 0
        self._changed = asyncio.Event()

    def publish(self, rows: list[LogRow]) -> None:
        self._rows += rows
        self._size_bytes += sum(len(row.payload) for row in rows)
        while self._size_bytes > MEMORY_MAX_BYTES and len(self._rows) > 1:
            half = self._rows[: len(self._rows) // 2]
            del self._rows[: len(half)]
            self._size_bytes -= sum(len(row.payload) for row in half)
            self._first_seq = self._rows[0].seq
        self.wake()

    def wake(self) -> None:
        """Let every waiting follower look again."""
        self._changed.set()
        self._changed.clear()

    def rows_after(self, seq: int) -> list[LogRow] | None:
        """Return the rows above `seq`; None if memory does not reach back that far."""
        if seq + 1 < self._first_seq:
            return None
        return self._rows[seq + 1 - self._first_seq :]

    @property
    def is_over(self) -> bool:
        return bool(self._rows) and self._rows[-1].is_terminal

    async def wait(self) -> None:
        """Wait for more rows, or for the end of the topic."""
        await self._changed.wait()


class Topics:
    """The topics of this process, by generation, and the followers that wait for one to open."""

    def __init__(self) -> None:
        self._topics: dict[int, Topic] = {}
        self._awaited: dict[int, list[asyncio.Event]] = {}
        self._dispatcher: Dispatcher | None = None

    def open(self, generation_id: int, *, first_seq: int) -> Topic:
        """Create the topic of a run that starts here, in place of an older one."""
        topic = self._topics[generation_id] = Topic(first_seq=first_seq)
        self.wake(generation_id)
        return topic

    def get(self, generation_id: int) -> Topic | None:
        return self._topics.get(generation_id)

    def close(self, generation_id: int, topic: Topic) -> None:
        """Forget a topic; its followers continue from the database."""
        if self._topics.get(generation_id) is topic:
            del self._topics[generation_id]
        topic.wake()

    def wake(self, generation_id: int) -> None:
        """Let followers that wait for a run look again: it has started, or it will not start here."""
        for opened in self._awaited.pop(generation_id, ()):
            opened.set()

    def waiting(self, generation_id: int) -> int:
        """Return how many followers wait for this generation's run to start here."""
        return len(self._awaited.get(generation_id, ()))

    async def wait_open(self, generation_id: int, timeout_s: float) -> None:
        """Wait until the run of a generation starts in this process, for at most `timeout_s`."""
        if generation_id in self._topics:
            return
        opened = asyncio.Event()
        self._awaited.setdefault(generation_id, []).append(opened)
        try:
            async with asyncio.timeout(timeout_s):
                await opened.wait()
        except TimeoutError:
            pass
        finally:
            if waiting := self._awaited.get(generation_id):
                waiting.remove(opened)
                if not waiting:
                    del self._awaited[generation_id]

    def dispatcher(self, loop: asyncio.AbstractEventLoop) -> Dispatcher:
        """Return the dispatcher to `loop`."""
        if self._dispatcher is None or self._dispatcher.loop is not loop:
            self._dispatcher = Dispatcher(loop)
        return self._dispatcher


class Dispatcher:
    """Carries committed rows from the writer's thread to an event loop, with one wake-up for many rows."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._pending: deque[tuple[Topic, list[LogRow]]] = deque()
        self._is_scheduled = False

    def put(self, topic: Topic, rows: list[LogRow]) -> None:
        """Publish `rows` to `topic` on the loop. Called from the writer's thread."""
        self._pending.append((topic, rows))
        if not self._is_scheduled:
            self._is_scheduled = True
            with contextlib.suppress(RuntimeError):  # the loop has closed: there are no followers any more
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Reset first, so that rows which arrive from now on schedule another delivery.
        self._is_scheduled = False
        while self._pending:
            topic, rows = self._pending.popleft()
            topic.publish(rows)
