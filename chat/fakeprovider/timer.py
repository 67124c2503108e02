"""One timer for all streams: those that are due within the same two milliseconds wake together."""

import asyncio
import math

# A wake-up of the event loop costs as much as several deltas; a delay of two milliseconds is invisible.
_RESOLUTION_S = 0.002


class SharedTimer:
    """Wake waiters at the next tick after the time they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    def at(self, when: float) -> asyncio.Future[None]:
        """Return a future that is done at `when` by the loop's clock, or up to one tick later."""
        loop = asyncio.get_running_loop()
        tick = math.ceil(when / _RESOLUTION_S)
        if (waiting := self._waiting.get(tick)) is None:
            waiting = self._waiting[tick] = []
            loop.call_at(tick * _RESOLUTION_S, self._wake, tick)
        waiter = loop.create_future()
        waiting.append(waiter)
        return waiter

    def _wake(self, tick: int) -> None:
        for waiter in self._waiting.pop(tick):
            if not waiter.done():
                waiter.set_result(None)
