"""The one thread that commits what must be fast: deltas, questions, claims and ends.

It is self-clocking: it takes everything that is pending for all generations, commits it in ONE
transaction, publishes, and looks again. An idle system commits at once; a busy one makes larger
groups by itself, a few milliseconds apart.

A write to a log is fenced: it holds only while its lease's owner, epoch and status still match the
row. A lease that no longer matches is lost, for that run alone; nothing else of the group suffers.
If a group fails for another reason it is retried generation by generation.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connection, transaction

from chat import events
from chat.models.generation import Generation, LoggedEvent

logger = logging.getLogger(__name__)

# Joined text is cut into events of at most this many characters: one frame each.
EVENT_MAX_CHARS = 64 * 1024
# A question costs a millisecond or two; this many per group keep deltas from waiting longer than ~25 ms.
VERBS_PER_GROUP = 16
# A group costs a transaction and two thread switches whatever is in it, and no screen shows more than sixty
# pictures a second: deltas alone begin no new group earlier than this after the one before.
GROUP_EVERY_S = 0.016
# A run that is this far ahead of the disk waits for it.
BACKLOG_MAX_CHARS = 256 * 1024
# A database that is locked, full or restarting is tried again for this long before its runs fail.
OUTAGE_S = 30.0


class LeaseLost(Exception):
    """This run does not own its generation any more; it must stop and write nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One committed event: its place in the log and its JSON."""

    seq: int
    payload: bytes

    @property
    def is_terminal(self) -> bool:
        return self.payload.startswith(_TERMINAL_STARTS)


_TERMINAL_STARTS = tuple(
    b'{"type":"%s"' % kind.__struct_config__.tag.encode()  # type: ignore[union-attr]
    for kind in events.TERMINAL
)

# SQLite takes 32,766 values in one statement.
INSERT_ROWS = 1000


@dataclass(eq=False, slots=True)
class Lease:
    """The right to write one generation's log, and where that log stands.

    `publish` is called with committed rows, `on_failure` once if the lease ends early; both on the
    thread that commits.
    """

    generation_id: int
    owner: str
    epoch: int
    seq: int
    publish: Callable[[list[Row]], None]
    on_failure: Callable[[Exception], None]
    failure: Exception | None = None
    pending_chars: int = 0

    def fail(self, failure: Exception) -> None:
        if self.failure is None:
            self.failure = failure
            self.on_failure(failure)


@dataclass(eq=False, slots=True)
class _Item:
    """Work for one group: an event to append, a verb to run, or both (the end of a generation)."""

    lease: Lease | None = None
    event: events.Event | None = None
    verb: Callable[[], Any] | None = None
    result: Future[Any] | None = None


@dataclass(slots=True)
class _Outcome:
    """What a group did, kept until its transaction has committed."""

    rows: dict[Lease, list[Row]] = field(default_factory=dict)
    results: list[tuple[Future[Any], Any, Exception | None]] = field(default_factory=list)
    lost: list[Lease] = field(default_factory=list)

    def announce(self) -> None:
        for lease in self.lost:
            lease.fail(LeaseLost(f"generation {lease.generation_id}, epoch {lease.epoch}"))
        for lease, rows in self.rows.items():
            lease.seq = rows[-1].seq
            lease.publish(rows)
        for future, value, error in self.results:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


class Writer:
    """What both writers share: how one group is committed."""

    def append(self, lease: Lease, event: events.Event) -> None:
        """Take an event for a lease's log. Raises the failure that ended the lease before."""
        raise NotImplementedError

    def submit(self, verb: Callable[[], Any]) -> Future[Any]:
        """Run `verb` in a transaction; what it returns or raises arrives after the commit."""
        raise NotImplementedError

    def finish(self, lease: Lease, event: events.Terminal, verb: Callable[[], Any]) -> Future[Any]:
        """Append the last event and run `verb` in the same guarded transaction."""
        raise NotImplementedError

    async def drained(self, lease: Lease) -> None:
        """Wait until this lease is not too far ahead of the disk."""

    def _commit(self, items: list[_Item]) -> None:
        """Commit `items` together, else generation by generation; every item gets its outcome."""
        try:
            outcome = self._commit_group(items)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it belongs to one of them: find out whose
            if not isinstance(exc, OperationalError | InterfaceError):
                logger.warning("a group of %d failed (%s); trying one by one", len(items), type(exc).__name__)
        else:
            outcome.announce()
            return
        waiting = list(_by_lease(items))
        give_up_at = time.monotonic() + OUTAGE_S
        for pause_s in _pauses():
            waiting = [group for group in waiting if not self._commit_alone(group, give_up_at)]
            if not waiting:
                return
            time.sleep(pause_s)

    def _commit_alone(self, group: list[_Item], give_up_at: float) -> bool:
        """Commit one generation's items; False if they should be tried again."""
        try:
            outcome = self._commit_group(group)
        except (OperationalError, InterfaceError) as exc:
            if time.monotonic() < give_up_at:
                if not connection.in_atomic_block:
                    connection.close()  # a server that restarted needs a new one
                return False
            _fail(group, exc)
        except Exception as exc:
            logger.exception("one generation's commit failed")
            _fail(group, exc)
        else:
            outcome.announce()
        return True

    def _commit_group(self, items: list[_Item]) -> _Outcome:
        outcome = _Outcome()
        if not items:
            return outcome
        with transaction.atomic():
            held = _held({item.lease for item in items if item.lease is not None})
            new_rows: list[tuple[int, int, str]] = []
            for lease, lease_events in _events_by_lease(items):
                if lease in held:
                    rows = list(_rows(lease, lease_events))
                    outcome.rows[lease] = rows
                    new_rows += [(lease.generation_id, row.seq, row.payload.decode()) for row in rows]
                elif lease.failure is None:
                    outcome.lost.append(lease)
            _insert(new_rows)
            for item in items:
                if item.verb is not None:
                    self._run_verb(item, outcome, is_held=item.lease is None or item.lease in held)
        return outcome

    @staticmethod
    def _run_verb(item: _Item, outcome: _Outcome, *, is_held: bool) -> None:
        assert item.verb is not None
        assert item.result is not None
        if not is_held:
            outcome.results.append((item.result, None, LeaseLost()))
            return
        if item.lease is not None:
            # The end of a generation is one with its rows: if it fails, they must go as well.
            outcome.results.append((item.result, item.verb(), None))
            return
        try:
            with transaction.atomic():
                value = item.verb()
        except (OperationalError, InterfaceError):
            raise
        except Exception as exc:  # noqa: BLE001 - its caller decides
            outcome.results.append((item.result, None, exc))
        else:
            outcome.results.append((item.result, value, None))


class InlineWriter(Writer):
    """Commits at once on the caller's thread: for tests, and commands that store a question."""

    def append(self, lease: Lease, event: events.Event) -> None:
        if lease.failure is not None:
            raise lease.failure
        self._held_back.append(_Item(lease=lease, event=event))

    def __init__(self) -> None:
        self._held_back: list[_Item] = []

    def submit(self, verb: Callable[[], Any]) -> Future[Any]:
        return self._at_once(_Item(verb=verb, result=Future()))

    def finish(self, lease: Lease, event: events.Terminal, verb: Callable[[], Any]) -> Future[Any]:
        return self._at_once(_Item(lease=lease, event=event, verb=verb, result=Future()))

    async def drained(self, lease: Lease) -> None:
        await sync_to_async(self._flush)()

    def _flush(self) -> None:
        items, self._held_back = self._held_back, []
        if items:
            self._commit(items)

    def _at_once(self, item: _Item) -> Future[Any]:
        self._held_back.append(item)
        self._flush()
        assert item.result is not None
        return item.result


class ThreadWriter(Writer):
    """The server's writer: a thread with a database connection of its own."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._deltas: list[_Item] = []
        self._verbs: list[_Item] = []
        self._is_closing = False
        self._busy_since: float | None = None
        self._began_s = 0.0
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def append(self, lease: Lease, event: events.Event) -> None:
        if lease.failure is not None:
            raise lease.failure
        if isinstance(event, events.Delta | events.Thinking):
            lease.pending_chars += len(event.text)
        self._put(self._deltas, _Item(lease=lease, event=event))

    def submit(self, verb: Callable[[], Any]) -> Future[Any]:
        item = _Item(verb=verb, result=Future())
        self._put(self._verbs, item)
        assert item.result is not None
        return item.result

    def finish(self, lease: Lease, event: events.Terminal, verb: Callable[[], Any]) -> Future[Any]:
        item = _Item(lease=lease, event=event, verb=verb, result=Future())
        self._put(self._verbs, item)
        assert item.result is not None
        return item.result

    async def drained(self, lease: Lease) -> None:
        while lease.pending_chars > BACKLOG_MAX_CHARS and lease.failure is None:
            await asyncio.wrap_future(self.submit(lambda: None))

    def close(self) -> None:
        """Commit what is pending and end the thread."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join()

    def trouble(self) -> str | None:
        """Return what is wrong with this writer, if anything."""
        busy_since = self._busy_since
        if not self._thread.is_alive():
            return "the writer thread has ended; restart the server"
        if busy_since is not None and time.monotonic() - busy_since > 5:
            return f"the database has not taken a commit for {time.monotonic() - busy_since:.0f} s"
        return None

    def _put(self, queue: list[_Item], item: _Item) -> None:
        with self._condition:
            if self._is_closing:
                raise RuntimeError("the writer is closed")
            queue.append(item)
            if len(queue) == 1:  # later ones are found with the first
                self._condition.notify()

    def _take(self) -> list[_Item] | None:
        """Wait for work; return all deltas and some verbs, in this order; None at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._deltas or self._verbs or self._is_closing)
            rest_s = self._began_s + GROUP_EVERY_S - time.monotonic()
            if rest_s > 0:
                self._condition.wait_for(lambda: self._verbs or self._is_closing, rest_s)
            if not (self._deltas or self._verbs):
                return None
            self._began_s = time.monotonic()
            items = self._deltas + self._verbs[:VERBS_PER_GROUP]
            # The lists stay the same objects: `_put` was handed one of them before it had the lock.
            self._deltas.clear()
            del self._verbs[:VERBS_PER_GROUP]
        # From here on a caller that was cancelled cannot take its work back; before, it is not begun.
        return [item for item in items if item.result is None or item.result.set_running_or_notify_cancel()]

    def _loop(self) -> None:
        while (items := self._take()) is not None:
            self._busy_since = time.monotonic()
            self._write(items)
            del items  # before the wait for more: a whole answer may hang on it
            self._busy_since = None
        connection.close()

    def _write(self, items: list[_Item]) -> None:
        for item in items:
            if item.lease is not None:
                item.lease.pending_chars = 0
        try:
            self._commit(items)
        except Exception as exc:  # a follower's or caller's callback; the thread must live
            logger.exception("announcing a commit failed")
            _fail(items, exc)


def _held(leases: set[Lease]) -> set[Lease]:
    """Return the leases whose owner, epoch and status still match, and keep it so until the commit.

    SQLite's IMMEDIATE transaction holds everybody else's writes off already; PostgreSQL locks the rows,
    in one order, so that a takeover either comes first or waits for this commit.
    """
    if not leases:
        return set()
    ids = sorted({lease.generation_id for lease in leases})
    sql = (
        f"SELECT id, owner, epoch FROM {Generation._meta.db_table} "  # noqa: S608 - names of our own
        f"WHERE status = 'running' AND id IN ({', '.join(['%s'] * len(ids))}) ORDER BY id"
    )
    if connection.features.has_select_for_no_key_update:
        sql += " FOR NO KEY UPDATE"
    with connection.cursor() as cursor:
        cursor.execute(sql, ids)
        owners = {pk: (owner, epoch) for pk, owner, epoch in cursor.fetchall()}
    return {
        lease
        for lease in leases
        if lease.failure is None and owners.get(lease.generation_id) == (lease.owner, lease.epoch)
    }


def _insert(rows: list[tuple[int, int, str]]) -> None:
    """Insert rows, many with one statement.

    Not with `executemany`: on PostgreSQL that is a pipeline, and who stands still in its midst is not
    idle in its transaction, so that the server would never end it and its locks.
    """
    table = LoggedEvent._meta.db_table
    with connection.cursor() as cursor:
        for some in batched(rows, INSERT_ROWS):
            values = ", ".join(["(%s, %s, %s)"] * len(some))
            sql = f"INSERT INTO {table} (generation_id, seq, payload) VALUES {values}"  # noqa: S608
            cursor.execute(sql, [value for row in some for value in row])


def _events_by_lease(items: Iterable[_Item]) -> Iterator[tuple[Lease, list[events.Event]]]:
    found: dict[Lease, list[events.Event]] = {}
    for item in items:
        if item.lease is not None and item.event is not None:
            found.setdefault(item.lease, []).append(item.event)
    yield from found.items()


def _by_lease(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Group the items of each lease; a verb without one stands alone."""
    found: dict[Any, list[_Item]] = {}
    for item in items:
        found.setdefault(item.lease or item, []).append(item)
    yield from found.values()


def _rows(lease: Lease, lease_events: Iterable[events.Event]) -> Iterator[Row]:
    seq = lease.seq
    for event in joined(lease_events):
        seq += 1
        yield Row(seq, events.encode(event))


def joined(some: Iterable[events.Event]) -> Iterator[events.Event]:
    """Join neighbouring deltas (and neighbouring thinking) into events of at most EVENT_MAX_CHARS."""
    kind: type[events.Delta | events.Thinking] | None = None
    texts: list[str] = []
    for event in some:
        if isinstance(event, events.Delta | events.Thinking):
            if type(event) is not kind:
                yield from _pieces(kind, texts)
                kind, texts = type(event), []
            texts.append(event.text)
        else:
            yield from _pieces(kind, texts)
            kind, texts = None, []
            yield event
    yield from _pieces(kind, texts)


def _pieces(kind: type[events.Delta | events.Thinking] | None, texts: list[str]) -> Iterator[events.Event]:
    if kind is None:
        return
    text = "".join(texts)
    for start in range(0, len(text), EVENT_MAX_CHARS):
        yield kind(text[start : start + EVENT_MAX_CHARS])


def _fail(items: Iterable[_Item], exc: Exception) -> None:
    for item in items:
        if item.lease is not None:
            item.lease.fail(exc)
        if item.result is not None and not item.result.done():
            item.result.set_exception(exc)


def _pauses() -> Iterator[float]:
    pause_s = 0.05
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, 2.0)
