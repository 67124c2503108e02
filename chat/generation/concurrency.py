"""How many requests of programs run at once in this process: up to the limits of their key and their user.

Requests above a limit wait here, in the order in which they came; calls of different users take turns in the
queue of an endpoint, which comes after this. With several server processes, each has its share of a limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager

from django.conf import settings

from chat.models.api_key import ApiKey
from chat.models.generation import Generation

# How often the place of a waiting request is logged. Programs do not look at it often.
POSITION_INTERVAL_S = 10.0
# The weight of one more request in the moving average of how long one runs.
AVERAGE_WEIGHT = 0.1
# Assumed of a key without a request so far.
FIRST_AVERAGE_S = 5.0

# Group, such as a key, and how many may run in it.
type Limits = Mapping[Hashable, int]


def key_group(key_id: int) -> Hashable:
    """Return the group of an API key's requests."""
    return ("key", key_id)


def limits_of(generation: Generation) -> Limits:
    """Return the limits of a program's request; none for a message of the chat, and for bulk."""
    if generation.api_key is None or generation.source == Generation.Source.BATCH:
        return {}
    return key_limits(generation.api_key)


def key_limits(key: ApiKey) -> Limits:
    """Return the limits of a request with an API key."""
    return {key_group(key.pk): key.running_limit, ("user", key.user_id): settings.API_RUNNING_PER_USER}


class _Waiting:
    """A request that waits. `granted` is set when it may run."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class ConcurrencyGate:
    """The requests of programs in one process. Belongs to its event loop."""

    def __init__(
        self, processes: Callable[[], int] = lambda: 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`processes`: over how many processes the limits are divided now."""
        self._processes = processes
        self._clock = clock
        self._running: Counter[Hashable] = Counter()
        self._waiting: dict[_Waiting, None] = {}
        self._average_s: dict[Hashable, float] = {}

    def average_s(self, group: Hashable) -> float:
        """Return how long a request of a group runs, on average."""
        return self._average_s.get(group, FIRST_AVERAGE_S)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def slot(
        self, limits: Limits, on_position: Callable[[int], Awaitable[None]]
    ) -> AsyncIterator[float]:
        """Wait until a request may run; yield how many seconds that took.

        `on_position` is called with the place among those that wait for the same, from 1.
        """
        entered_s = self._clock()
        await self._enter(limits, on_position)
        started_s = self._clock()
        try:
            yield started_s - entered_s
        finally:
            self._leave(limits, self._clock() - started_s)

    async def _enter(self, limits: Limits, on_position: Callable[[int], Awaitable[None]]) -> None:
        waiting = _Waiting(limits)
        self._waiting[waiting] = None
        self._grant()
        try:
            while not waiting.granted.done():
                await on_position(self._position(waiting))
                await asyncio.wait({waiting.granted}, timeout=POSITION_INTERVAL_S)
        except BaseException:
            if waiting.granted.done():
                self._leave(limits)
            else:
                del self._waiting[waiting]
            raise

    def _position(self, waiting: _Waiting) -> int:
        """Return a place in the queue; 1 also for a request that was just granted."""
        position = 0
        for each in self._waiting:
            position += bool(each.limits.keys() & waiting.limits.keys())
            if each is waiting:
                break
        return max(position, 1)

    def _leave(self, limits: Limits, ran_s: float | None = None) -> None:
        for group in limits:
            self._running[group] -= 1
            if not self._running[group]:
                del self._running[group]
            if ran_s is not None:
                average_s = self._average_s.get(group, ran_s)
                self._average_s[group] = average_s + AVERAGE_WEIGHT * (ran_s - average_s)
        self._grant()

    def _grant(self) -> None:
        """Let those run that may, in the order in which they came."""
        for waiting in list(self._waiting):
            if self._has_room(waiting.limits):
                del self._waiting[waiting]
                self._running.update(waiting.limits.keys())
                waiting.granted.set_result(None)

    def _has_room(self, limits: Limits) -> bool:
        processes = max(1, self._processes())
        return all(self._running[group] < max(1, limit // processes) for group, limit in limits.items())
