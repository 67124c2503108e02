"""The replayable log of one generation: append to it, follow it, read where it stands.

Text is committed before any follower sees it. A follower pulls: it keeps its own place and takes
what is there, from memory while it keeps up, from the database when it fell behind or when another
process owns the run. So a slow reader costs nothing, and nothing can be lost on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from channels.db import database_sync_to_async
from django.db.models import Max
from django.db.models.functions import Length

from chat import events
from chat.event_log.writer import InlineWriter, Lease, LeaseLost, Row, ThreadWriter, Writer
from chat.models.conversation import Message
from chat.models.generation import Generation, LoggedEvent

__all__ = ["Lease", "LeaseLost", "ReplayedText", "Row"]

# How many characters of a running log are kept in memory for followers that are a little behind.
MEMORY_MAX_BYTES = 256 * 1024
# What is read from the database at a time: so many rows, and of large rows so many characters (or one row).
READ_ROWS = 500
READ_CHARS = 512 * 1024
# How often the log of a run in another process is looked at.
POLL_S = 0.5
# How long followers of a run that this process is about to begin wait before they look elsewhere.
BEGIN_S = 5.0
# How long a finished log stays in memory.
LINGER_S = 2.0

_writer: Writer = InlineWriter()
_topics: dict[int, _Topic] = {}
_post: _Post | None = None
# Followers that came before their run.
_expected: dict[int, list[asyncio.Event]] = {}


# -- the writer ------------------------------------------------------------------------------------


def open_writer() -> None:
    """Start this process's writer thread; until then writes happen on the caller's thread."""
    global _writer
    if not isinstance(_writer, ThreadWriter):
        _writer = ThreadWriter()


def close_writer() -> None:
    """Commit what is pending and end the writer thread."""
    global _writer
    if isinstance(_writer, ThreadWriter):
        _writer.close()
        _writer = InlineWriter()


def trouble() -> str | None:
    """Return what is wrong with the writer, if anything."""
    return _writer.trouble() if isinstance(_writer, ThreadWriter) else "the writer is not open"


def write[T](verb: Callable[[], T]) -> T:
    """Run `verb` in one of the writer's transactions and return what it returns, committed."""
    result: T = _writer.submit(verb).result()
    return result


async def awrite[T](verb: Callable[[], T]) -> T:
    """`write` for async callers."""
    result: T
    if isinstance(_writer, ThreadWriter):
        result = await asyncio.wrap_future(_writer.submit(verb))
    else:
        result = await database_sync_to_async(write)(verb)
    return result


# -- appending -------------------------------------------------------------------------------------


def open_lease(
    generation_id: int, *, owner: str, epoch: int, seq: int, on_failure: Callable[[Exception], None]
) -> Lease:
    """Take up the log of a generation that was just claimed, after `seq`; on the loop that runs it.

    `on_failure` is called on that loop if the lease is lost, or its rows cannot be written.
    """
    loop = asyncio.get_running_loop()
    post = _post_to(loop)
    topic = _Topic(first_seq=seq + 1)
    _topics[generation_id] = topic
    wake(generation_id)

    def fail(failure: Exception) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_fail, generation_id, topic, failure, on_failure)

    return Lease(generation_id, owner, epoch, seq, partial(post.put, topic), fail)


def _fail(
    generation_id: int, topic: _Topic, failure: Exception, on_failure: Callable[[Exception], None]
) -> None:
    _forget(generation_id, topic)
    on_failure(failure)


def wake(generation_id: int) -> None:
    """Let followers who wait for a run look again: it has begun, or it will not begin here."""
    for begun in _expected.pop(generation_id, ()):
        begun.set()


async def append(lease: Lease, event: events.Event) -> None:
    """Add an event to the log. Returns before it is committed, unless the disk is far behind.

    Raises LeaseLost, or what kept earlier events from being written.
    """
    _writer.append(lease, event)
    await _writer.drained(lease)


async def finish(lease: Lease, event: events.Terminal, verb: Callable[[], Any]) -> None:
    """Commit the last event and the generation's final state, made by `verb`, as one.

    Raises LeaseLost if another process took the generation over; nothing is written then.
    """
    if isinstance(_writer, ThreadWriter):
        await asyncio.wrap_future(_writer.finish(lease, event, verb))
    else:
        await database_sync_to_async(lambda: _writer.finish(lease, event, verb).result())()
    topic = _topics.get(lease.generation_id)
    if topic is not None:
        loop = asyncio.get_running_loop()
        loop.call_later(LINGER_S, _forget, lease.generation_id, topic)


def _forget(generation_id: int, topic: _Topic) -> None:
    if _topics.get(generation_id) is topic:
        del _topics[generation_id]
    topic.wake()


class _Post:
    """Carries committed rows from the writer's thread to an event loop: one wake-up for what is waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[_Topic, list[Row]]] = deque()
        self._is_called = False

    def put(self, topic: _Topic, rows: list[Row]) -> None:
        self._waiting.append((topic, rows))
        if not self._is_called:
            self._is_called = True
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody follows any more
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First, so that rows which come from now on call again.
        self._is_called = False
        while self._waiting:
            topic, rows = self._waiting.popleft()
            topic.publish(rows)


def _post_to(loop: asyncio.AbstractEventLoop) -> _Post:
    global _post
    if _post is None or _post.loop is not loop:
        _post = _Post(loop)
    return _post


# -- following -------------------------------------------------------------------------------------


class _Topic:
    """The newest committed rows of a log that this process writes, and who waits for more."""

    def __init__(self, *, first_seq: int) -> None:
        self._first_seq = first_seq
        self._rows: list[Row] = []
        self._size_bytes = 0
        self._news = asyncio.Event()

    def publish(self, rows: list[Row]) -> None:
        self._rows += rows
        self._size_bytes += sum(len(row.payload) for row in rows)
        while self._size_bytes > MEMORY_MAX_BYTES and len(self._rows) > 1:
            half = self._rows[: len(self._rows) // 2]
            del self._rows[: len(half)]
            self._size_bytes -= sum(len(row.payload) for row in half)
            self._first_seq = self._rows[0].seq
        self.wake()

    def wake(self) -> None:
        self._news.set()
        self._news.clear()

    def rows_after(self, seq: int) -> list[Row] | None:
        """Return the rows above `seq`; None if memory does not reach back so far."""
        if seq + 1 < self._first_seq:
            return None
        return self._rows[seq + 1 - self._first_seq :]

    @property
    def is_over(self) -> bool:
        return bool(self._rows) and self._rows[-1].is_terminal

    async def wait(self) -> None:
        await self._news.wait()


async def follow(
    generation_id: int, *, after: int = 0, is_about_to_begin: bool = False
) -> AsyncIterator[list[Row]]:
    """Yield the committed events above seq `after`, in order and without a gap, until the last one.

    A generation that is final and whose log is gone gives one `snapshot`. A generation that does
    not exist gives nothing. `is_about_to_begin`: its run was just started in this process, so that
    there is nothing to read yet; when many begin at once, looking would only keep them from it.
    """
    if is_about_to_begin and generation_id not in _topics:
        await _expect(generation_id, BEGIN_S)
    while True:
        topic = _topics.get(generation_id)
        rows = topic.rows_after(after) if topic is not None else None
        if rows is None or (not rows and topic is not None and topic.is_over):
            topic = None
            rows = await database_sync_to_async(_read)(generation_id, after)
        if rows:
            yield rows
            after = rows[-1].seq
            if rows[-1].is_terminal:
                return
        elif topic is not None:
            await topic.wait()
        else:
            last, exists = await database_sync_to_async(_last_word)(generation_id, after)
            if last is not None:
                yield [last]
            if last is not None or not exists:
                return
            if generation_id not in _topics:
                await _expect(generation_id, POLL_S)


async def _expect(generation_id: int, timeout_s: float) -> None:
    """Wait until a run begins in this process, but not long: it may run in another one."""
    begun = asyncio.Event()
    _expected.setdefault(generation_id, []).append(begun)
    try:
        async with asyncio.timeout(timeout_s):
            await begun.wait()
    except TimeoutError:
        pass
    finally:
        if waiting := _expected.get(generation_id):
            waiting.remove(begun)
            if not waiting:
                del _expected[generation_id]


def _read(generation_id: int, after: int) -> list[Row]:
    """Return the next rows above `after`, not more than may be held in memory for a slow reader."""
    rows = LoggedEvent.objects.filter(generation_id=generation_id, seq__gt=after).order_by("seq")
    chars, last = 0, 0
    for seq, size in rows.annotate(size=Length("payload")).values_list("seq", "size")[:READ_ROWS]:
        chars += size
        if last and chars > READ_CHARS:
            break
        last = seq
    found = rows.filter(seq__lte=last).values_list("seq", "payload")
    return [Row(seq, payload.encode()) for seq, payload in found]


def _all_rows(generation_id: int) -> Iterator[Row]:
    after = 0
    while rows := _read(generation_id, after):
        yield from rows
        after = rows[-1].seq


def _last_word(generation_id: int, after: int) -> tuple[Row | None, bool]:
    """Return a snapshot if the generation is final, and whether it exists at all."""
    generation = Generation.objects.select_related("message").filter(pk=generation_id).first()
    if generation is None:
        return None, False
    if generation.is_active:
        return None, True
    return Row(after + 1, events.encode(_snapshot(generation, generation.message))), True


def _snapshot(generation: Generation, message: Message) -> events.Snapshot:
    return events.Snapshot(
        status=generation.status,
        text=message.text,
        thinking=message.thinking,
        finish_reason=generation.finish_reason,
        code=generation.error_code,
        message=generation.error_message,
    )


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplayedText:
    """Where a running generation stands: its text and thinking up to `seq`."""

    seq: int = 0
    text: str = ""
    thinking: str = ""


def state(generation_id: int, *, prefix: str = "") -> ReplayedText:
    """Read a generation's log and return its text so far (after `prefix`), for a page made now."""
    return fold(_all_rows(generation_id), prefix)


async def astate(generation_id: int, *, prefix: str = "") -> ReplayedText:
    """`state` for async callers."""
    found: ReplayedText = await database_sync_to_async(state)(generation_id, prefix=prefix)
    return found


def fold(rows: Iterable[Row], prefix: str = "") -> ReplayedText:
    """Return what a reader of these rows has on the screen."""
    seq = 0
    text, thinking = [prefix], [""]
    for row in rows:
        seq = row.seq
        event = events.decode(row.payload)
        if isinstance(event, events.Delta):
            text.append(event.text)
        elif isinstance(event, events.Thinking):
            thinking.append(event.text)
        elif isinstance(event, events.Restarted):
            text, thinking = [prefix], [""]
    return ReplayedText(seq, "".join(text), "".join(thinking))


def prune(generation_id: int, rows: int | None = None) -> int:
    """Delete a log, or its last `rows` rows; return how many there were of these.

    The last ones first: who follows a final answer without its end is given a snapshot of it.
    """
    log = LoggedEvent.objects.filter(generation_id=generation_id)
    if rows is not None:
        last = log.aggregate(last=Max("seq"))["last"] or 0
        log = log.filter(seq__gt=last - rows)
    return log.delete()[0]
