"""What the processes of one installation agree on before one of them calls an endpoint: the shared slots.

Whoever keeps the count is injected; here is only what it must do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# Numbers of calls, in the order of `QueuePriority`.
type Counts = tuple[int, ...]


class SharingFailed(Exception):
    """The count cannot be reached; each process goes by its part of the slots until it can."""


@dataclass(frozen=True, slots=True)
class Trade:
    """How many more may be let in here, and how many slots are then in use in all processes."""

    granted: Counts
    in_use: int


class SharedSlots(Protocol):
    # What keeps it from counting, in words for operators; None: nothing.
    problem: str | None

    async def trade(self, endpoint: str, slots: int, held: Counts, waiting: Counts) -> Trade:
        """Tell what this process holds of an endpoint's `slots` and who waits here; take what it may have.

        Told anew at least each second, else it is forgotten with all it holds after some seconds.
        Raises SharingFailed.
        """
