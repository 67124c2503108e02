"""The interface to slots that all processes of an installation share.

The implementation is passed in, so that this package does not depend on Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# Numbers of calls, in the order of `QueuePriority`.
type Counts = tuple[int, ...]


class SharedSlotsUnavailable(Exception):
    """The shared count cannot be reached; each process uses its share of the slots."""


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """How many more calls may start in this process.

    `granted`: by priority. `in_use`: slots in use in all processes, these included.
    """

    granted: Counts
    in_use: int


class SharedSlots(Protocol):
    # Why the shared count cannot be used, as a text for operators; None if it can.
    problem: str | None

    async def acquire(
        self, endpoint: str, slots: int, program_slots: int, in_use: Counts, waiting: Counts
    ) -> SlotGrant:
        """Report this process's calls and acquire slots for those that wait.

        `slots`: how many the endpoint has; `program_slots`: how many of them API and bulk calls may use.
        `in_use`, `waiting`: this process's calls, by priority. The report replaces the previous one, so
        repeating it does no harm. Send it at least once a second: a process that stops reporting loses its
        slots after some seconds. Raises SharedSlotsUnavailable.
        """
