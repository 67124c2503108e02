"""The lease on one generation's log: only its holder may write, and only while the row says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection

from chat import events
from chat.models.generation import Generation


class LeaseLost(Exception):
    """The run does not own its generation any more. It must stop and write nothing."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One committed event: its seq and its JSON."""

    seq: int
    payload: bytes

    @property
    def is_terminal(self) -> bool:
        return self.payload.startswith(_TERMINAL_STARTS)


_TERMINAL_STARTS = tuple(
    b'{"type":"%s"' % kind.__struct_config__.tag.encode()  # type: ignore[union-attr]
    for kind in events.TERMINAL
)


@dataclass(eq=False, slots=True)
class Lease:
    """The right to write one generation's log, and the last seq written.

    `publish` is called with committed rows; `on_failure` is called once if the lease ends early. Both are
    called on the thread that commits.
    """

    generation_id: int
    owner: str
    epoch: int
    seq: int
    publish: Callable[[list[LogRow]], None]
    on_failure: Callable[[Exception], None]
    failure: Exception | None = None
    pending_chars: int = 0

    def fail(self, failure: Exception) -> None:
        """End the lease because of `failure`; only the first failure counts."""
        if self.failure is None:
            self.failure = failure
            self.on_failure(failure)


def lock_valid(leases: set[Lease]) -> set[Lease]:
    """Return the leases whose owner, epoch and status still match their rows; lock these until the commit.

    On SQLite the IMMEDIATE transaction keeps all other writers out. On PostgreSQL the rows are locked in
    the order of their ids, so that a takeover either comes first or waits for this commit.
    """
    if not leases:
        return set()
    ids = sorted({lease.generation_id for lease in leases})
    sql = (
        f"SELECT id, owner, epoch FROM {Generation._meta.db_table} "  # noqa: S608 - our own names
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
