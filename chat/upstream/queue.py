"""The queue of one endpoint: which waiting call gets the next free slot.

Interactive calls go before API calls, API calls before bulk. Within a priority, users take turns (round
robin), so that a user with three hundred calls does not delay another user's first one. While bulk waits,
one slot is reserved for it, so that it always makes progress.

API and bulk calls together use at most the program slots of the endpoint. The rest is kept free for
interactive calls, which may use all slots: a user does not wait until a program's call ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from enum import IntEnum
from itertools import chain, zip_longest
from typing import Protocol

# With a single slot none can be reserved: bulk gets it after this many other calls.
STARVATION_MAX = 8
# The share of an endpoint's slots that API and bulk calls leave to interactive calls.
INTERACTIVE_SHARE = 0.4


class QueuePriority(IntEnum):
    """Lower numbers are served first."""

    INTERACTIVE = 0
    API = 1
    BULK = 2


# Iterating over an enumeration takes several times as long.
PRIORITIES = tuple(QueuePriority)


def program_slots(slots: int, interactive_share: float) -> int:
    """Return how many of the slots API and bulk calls may use together; at least one."""
    return max(1, slots - int(slots * interactive_share))


class QueueItem(Protocol):
    @property
    def priority(self) -> QueuePriority: ...

    @property
    def user(self) -> Hashable: ...


class FairQueue[Item: QueueItem]:
    """Waiting calls by priority, with round robin between users."""

    def __init__(self) -> None:
        # By priority, the users in the order of their turns, each with their calls.
        self._users: dict[QueuePriority, dict[Hashable, deque[Item]]] = {
            priority: {} for priority in PRIORITIES
        }
        # Computed on demand; None after a change.
        self._positions: dict[Item, int] | None = None
        # How many calls in a row went before waiting bulk.
        self._starvation = 0

    def __bool__(self) -> bool:
        return any(self._users.values())

    def __iter__(self) -> Iterator[Item]:
        """Yield the calls in the order of service, disregarding the reserved slot."""
        return chain.from_iterable(map(self._in_order, PRIORITIES))

    def _in_order(self, priority: QueuePriority) -> Iterator[Item]:
        for turn in zip_longest(*self._users[priority].values()):
            yield from (item for item in turn if item is not None)

    def count(self, priority: QueuePriority) -> int:
        return sum(map(len, self._users[priority].values()))

    def count_ahead(self, priority: QueuePriority) -> int:
        """Return how many calls of this or a more urgent priority wait."""
        return sum(self.count(other) for other in PRIORITIES if other <= priority)

    def position(self, item: Item) -> int:
        """Return the position of a call, from 1; 0 if it does not wait."""
        if self._positions is None:
            self._positions = {other: number for number, other in enumerate(self, start=1)}
        return self._positions.get(item, 0)

    def add(self, item: Item) -> None:
        self._positions = None
        self._users[item.priority].setdefault(item.user, deque()).append(item)

    def remove(self, item: Item) -> None:
        """Remove a call; does nothing if it does not wait."""
        users = self._users[item.priority]
        items = users.get(item.user)
        if items is None or item not in items:
            return
        self._positions = None
        items.remove(item)
        if not items:
            del users[item.user]

    def pop_first(self, priority: QueuePriority) -> Item | None:
        """Remove and return the first call of a priority; None if there is none.

        Its user goes behind the other users.
        """
        users = self._users[priority]
        item = next((items[0] for items in users.values()), None)
        if item is None:
            return None
        self.remove(item)
        if item.user in users:
            users[item.user] = users.pop(item.user)
        return item

    def pop(self, *, slots: int, is_bulk_running: bool, has_program_slot: bool) -> Item | None:
        """Remove and return the call that gets the next slot; None if no call may have it.

        `has_program_slot`: whether an API or bulk call may have it.
        """
        priority = self._next_priority(slots, is_bulk_running, has_program_slot)
        return None if priority is None else self.pop_first(priority)

    def _next_priority(
        self, slots: int, is_bulk_running: bool, has_program_slot: bool
    ) -> QueuePriority | None:
        allowed = PRIORITIES if has_program_slot else (QueuePriority.INTERACTIVE,)
        waiting = [priority for priority in allowed if self._users[priority]]
        if not waiting:
            return None
        has_rivals = len(waiting) > 1 and waiting[-1] is QueuePriority.BULK
        if not has_rivals:
            self._starvation = 0
            return waiting[0]
        is_bulk_due = self._starvation >= STARVATION_MAX if slots == 1 else not is_bulk_running
        self._starvation = 0 if is_bulk_due else self._starvation + 1
        return QueuePriority.BULK if is_bulk_due else waiting[0]
