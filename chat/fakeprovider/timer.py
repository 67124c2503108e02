"""One timer for all streams: those that are due within the same two milliseconds wake together."""

import asyncio
import math

# A wake-up of the event loop costs as much as several deltas; nobody sees two milliseconds.
_BEAT_S = 0.002


class Metronome:
    """Wakes whoever waits, at the next beat after the moment asked for."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    def moment(self, when: float) -> asyncio.Future[None]:
        """Return what is done when the loop's clock says `when`, or up to a beat later."""
        loop = asyncio.get_running_loop()
        beat = math.ceil(when / _BEAT_S)
        if (waiting := self._waiting.get(beat)) is None:
            waiting = self._waiting[beat] = []
            loop.call_at(beat * _BEAT_S, self._strike, beat)
        waiter = loop.create_future()
        waiting.append(waiter)
        return waiter

    def _strike(self, beat: int) -> None:
        for waiter in self._waiting.pop(beat):
            if not waiter.done():
                waiter.set_result(None)
