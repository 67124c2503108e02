"""Which processes are dead, and which kind of process picks up what waits.

A process is dead when its counter stood still for CHATSITE_PROCESS_DEAD_AFTER_S on the observer's own
clock. No stored time decides who owns a generation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chat.models.process import Process

# The counter of an owner that has no row: its process has signed off, or its row was deleted.
NO_ROW = -1


@dataclass(frozen=True, slots=True)
class OwnedGeneration:
    """A generation that another process owns."""

    id: int
    is_bulk: bool


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What another process's row says."""

    kind: str
    counter: int


@dataclass(slots=True)
class TakeoverWatch:
    """Watches the counters of the other processes.

    `predecessor_is_dead`: on SQLite a server holds the lock file, so any earlier server is dead. This says
    nothing about commands and workers.
    """

    dead_after_s: float
    predecessor_is_dead: bool = False
    clock: Callable[[], float] = time.monotonic
    # Process id -> its counter, and when that counter was first seen, by our clock.
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def dead(self, owners: Iterable[str], others: dict[str, ProcessState]) -> list[str]:
        """Return the ids of dead processes among `owners` of generations and the rows of `others`."""
        now = self.clock()
        dead = []
        for owner in {*owners, *others}:
            state = others.get(owner, ProcessState(Process.Kind.SERVER, NO_ROW))
            seen_counter, since = self._seen.get(owner, (None, now))
            if state.counter != seen_counter:
                self._seen[owner] = (state.counter, now)
                since = now
            is_predecessor = self.predecessor_is_dead and state.kind == Process.Kind.SERVER
            if is_predecessor or state.counter == NO_ROW or now - since > self.dead_after_s:
                dead.append(owner)
                self._seen.pop(owner, None)
        self.predecessor_is_dead = False  # from the second tick on, every other server is a real one
        return dead


def bulk_kind(living: dict[str, str]) -> Process.Kind:
    """Return the kind of process that picks up bulk and cleans up: workers, or servers while none lives."""
    return Process.Kind.WORKER if Process.Kind.WORKER in living.values() else Process.Kind.SERVER


def cleanup_process(living: dict[str, str]) -> str | None:
    """Return the id of the one process that cleans up for all."""
    kind = bulk_kind(living)
    return min((pk for pk, each in living.items() if each == kind), default=None)
