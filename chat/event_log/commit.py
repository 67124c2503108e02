"""Commit one group of work in one transaction: events of many logs, and operations on any rows.

A log is written only while its lease is valid (see `lease.py`). An invalid lease fails its own run and
nothing else in the group. If the transaction fails, the group is committed again lease by lease, so that
one bad row never costs another generation its commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, connection, transaction

from chat import events
from chat.event_log.coalesce import coalesce
from chat.event_log.lease import Lease, LeaseLost, LogRow, lock_valid
from chat.models.generation import Generation
from chat.models.logged_event import LoggedEvent

logger = logging.getLogger(__name__)

# A database that is locked, full or restarting is retried for this long before the runs fail.
OUTAGE_S = 30.0
# SQLite takes 32,766 values in one statement.
INSERT_ROWS = 1000


@dataclass(eq=False, slots=True)
class WriteItem:
    """One piece of work: an event to append, an operation to run, or both (the end of a generation).

    `user_id`: the user whose row the operation locks.
    """

    lease: Lease | None = None
    event: events.Event | None = None
    operation: Callable[[], Any] | None = None
    result: Future[Any] | None = None
    user_id: int | None = None


@dataclass(slots=True)
class _GroupResult:
    """What a transaction did. Announced after it has committed."""

    rows: dict[Lease, list[LogRow]] = field(default_factory=dict)
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


def keep_savepoints_in_memory() -> None:
    """Have SQLite keep what savepoints may restore in memory; a temporary file takes longer than the rows."""
    if connection.vendor == "sqlite":
        with suppress(OperationalError), connection.cursor() as cursor:
            cursor.execute("PRAGMA temp_store = MEMORY")


def commit(items: list[WriteItem]) -> None:
    """Commit `items` in one transaction, else lease by lease. Every item gets its result."""
    try:
        result = _commit_group(items)
    except Exception as exc:  # noqa: BLE001 - one of the items is at fault; the loop below finds it
        if not isinstance(exc, OperationalError | InterfaceError):
            logger.warning("a group of %d failed (%s); trying one by one", len(items), type(exc).__name__)
    else:
        result.announce()
        return
    waiting = list(_by_lease(items))
    give_up_at = time.monotonic() + OUTAGE_S
    for pause_s in _pauses():
        waiting = [group for group in waiting if not _commit_alone(group, give_up_at)]
        if not waiting:
            return
        time.sleep(pause_s)


def fail(items: Iterable[WriteItem], exc: Exception) -> None:
    """Fail the leases of `items` and every result that is still open."""
    for item in items:
        if item.lease is not None:
            item.lease.fail(exc)
        if item.result is not None and not item.result.done():
            item.result.set_exception(exc)


def _commit_alone(group: list[WriteItem], give_up_at: float) -> bool:
    """Commit the items of one lease. Return False if they are to be tried again."""
    try:
        result = _commit_group(group)
    except (OperationalError, InterfaceError) as exc:
        if time.monotonic() < give_up_at:
            if not connection.in_atomic_block:
                connection.close()  # after a restart of the database only a new connection works
            return False
        fail(group, exc)
    except Exception as exc:
        logger.exception("one generation's commit failed")
        fail(group, exc)
    else:
        result.announce()
    return True


def _commit_group(items: list[WriteItem]) -> _GroupResult:
    result = _GroupResult()
    if not items:
        return result
    if all(item.operation is None for item in items):
        found = _events_by_lease(items)
        by_lease = {lease: list(_rows(lease, its)) for lease, its in found if lease.failure is None}
        if _fits_one_statement(by_lease):
            return _insert_valid(by_lease)
    with transaction.atomic():
        # Users before generations, each in the order of their ids, in every process: no deadlocks.
        _lock_users({item.user_id for item in items if item.user_id is not None})
        valid = lock_valid({item.lease for item in items if item.lease is not None})
        new_rows: list[tuple[int, int, str]] = []
        for lease, lease_events in _events_by_lease(items):
            if lease in valid:
                rows = list(_rows(lease, lease_events))
                result.rows[lease] = rows
                new_rows += [(lease.generation_id, row.seq, row.payload.decode()) for row in rows]
            elif lease.failure is None:
                result.lost.append(lease)
        _insert(new_rows)
        for item in items:
            if item.operation is not None:
                _run_operation(item, result, is_valid=item.lease is None or item.lease in valid)
    return result


def _run_operation(item: WriteItem, result: _GroupResult, *, is_valid: bool) -> None:
    assert item.operation is not None
    assert item.result is not None
    if not is_valid:
        # A lease that failed for another reason is still this process's, which has to end the answer.
        failure = item.lease.failure if item.lease is not None else None
        result.results.append((item.result, None, failure or LeaseLost()))
        return
    if item.lease is not None:
        # The end of a generation and its last rows are one: if it fails, the rows must go as well.
        result.results.append((item.result, item.operation(), None))
        return
    try:
        with transaction.atomic():
            value = item.operation()
    except (OperationalError, InterfaceError):
        raise
    except Exception as exc:  # noqa: BLE001 - passed on to the caller
        result.results.append((item.result, None, exc))
    else:
        result.results.append((item.result, value, None))


def _lock_users(ids: set[int]) -> None:
    """Lock the rows of these users until the commit, where the database locks rows at all."""
    if ids and connection.features.has_select_for_no_key_update:
        users = get_user_model().objects.select_for_update(no_key=True).filter(pk__in=ids)
        list(users.order_by("pk").values_list("pk"))


def _insert(rows: list[tuple[int, int, str]]) -> None:
    """Insert log rows, many with one statement.

    Not with `executemany`: on PostgreSQL that is a pipeline, and a process that hangs inside a pipeline
    does not count as idle in its transaction. The server would never end it and release its locks.
    """
    table = LoggedEvent._meta.db_table
    with connection.cursor() as cursor:
        for some in batched(rows, INSERT_ROWS):
            values = ", ".join(["(%s, %s, %s)"] * len(some))
            sql = f"INSERT INTO {table} (generation_id, seq, payload) VALUES {values}"  # noqa: S608
            cursor.execute(sql, [value for row in some for value in row])


def _fits_one_statement(rows: dict[Lease, list[LogRow]]) -> bool:
    is_one_lease_each = len({lease.generation_id for lease in rows}) == len(rows)
    return is_one_lease_each and 0 < sum(map(len, rows.values())) <= INSERT_ROWS


def _insert_valid(rows: dict[Lease, list[LogRow]]) -> _GroupResult:
    """Insert the rows of the valid leases with one statement, a transaction of its own.

    It does what `lock_valid` and `_insert` do. Nearly every group is one delta, and a transaction of several
    statements takes twice as long.
    """
    values = [
        (lease.generation_id, row.seq, row.payload.decode(), lease.owner, lease.epoch)
        for lease, lease_rows in rows.items()
        for row in lease_rows
    ]
    lock = " ORDER BY own.id FOR NO KEY UPDATE OF own" * connection.features.has_select_for_no_key_update
    sql = (
        f"INSERT INTO {LoggedEvent._meta.db_table} (generation_id, seq, payload) "  # noqa: S608 - our own names
        "SELECT new.column1, new.column2, new.column3 "
        f"FROM (VALUES {', '.join(['(%s, %s, %s, %s, %s)'] * len(values))}) AS new "
        f"JOIN {Generation._meta.db_table} AS own ON own.id = new.column1 AND own.status = 'running' "
        f"AND own.owner = new.column4 AND own.epoch = new.column5{lock} RETURNING generation_id"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [value for each in values for value in each])
        valid = {generation_id for (generation_id,) in cursor.fetchall()}
    result = _GroupResult()
    for lease, lease_rows in rows.items():
        if lease.generation_id in valid:
            result.rows[lease] = lease_rows
        else:
            result.lost.append(lease)
    return result


def _rows(lease: Lease, lease_events: Iterable[events.Event]) -> Iterator[LogRow]:
    seq = lease.seq
    for event in coalesce(lease_events):
        seq += 1
        yield LogRow(seq, events.encode(event))


def _events_by_lease(items: Iterable[WriteItem]) -> Iterator[tuple[Lease, list[events.Event]]]:
    found: dict[Lease, list[events.Event]] = {}
    for item in items:
        if item.lease is not None and item.event is not None:
            found.setdefault(item.lease, []).append(item.event)
    yield from found.items()


def _by_lease(items: Iterable[WriteItem]) -> Iterator[list[WriteItem]]:
    """Group the items by lease; an operation without one is a group of its own."""
    found: dict[Any, list[WriteItem]] = {}
    for item in items:
        found.setdefault(item.lease or item, []).append(item)
    yield from found.values()


def _pauses() -> Iterator[float]:
    pause_s = 0.05
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, 2.0)
