"""The door of one endpoint: so many calls at once, and one line for all others.

Who is next: people before programs before bulk; within these, users take turns, so that somebody with
three hundred calls waits for nobody's fourth. While bulk waits, one slot is its own: it always moves on.
A 429 that says when to come back pauses the door for everyone: one line waits, nobody hammers.

Where several processes call the endpoint, each has its own line. With shared slots a process takes from
the common count before it lets its next one in; without them, or while they cannot be reached, it has its
part of the slots.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from enum import IntEnum
from itertools import chain, zip_longest

from chat.upstream import errors
from chat.upstream.shared_slots import Counts, SharedSlots, SharingFailed

# With a single slot none can be reserved: bulk goes after this many others.
PASSED_OVER_MAX = 8
# A word on when to come back, for those who find the line full.
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1.0, 60.0
# No endpoint can close itself for longer: it may have meant something else by the number.
PAUSE_MAX_S = 900.0
# How much one more call moves the mean time that a slot is held.
MEAN_WEIGHT = 0.1
# While somebody waits the common count is asked so often; a slot freed elsewhere is idle for half
# of that. With nobody in line it is told what is held; after a failure it is tried again.
ASK_EVERY_S, TELL_EVERY_S, TRY_AGAIN_S = 0.05, 1.0, 1.0


class QueuePriority(IntEnum):
    INTERACTIVE = 0
    API = 1
    BULK = 2


class Place:
    """One call's place in line, then its slot. Given back by `leave`, whatever happened."""

    def __init__(self, admission: Admission, priority: QueuePriority, user: Hashable) -> None:
        self.priority = priority
        self.user = user
        self.admitted_at_s: float | None = None
        self._admission = admission
        self._admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_admitted(self) -> bool:
        return self.admitted_at_s is not None

    @property
    def position(self) -> int:
        """Where in line this is, from 1; 0: it has its slot."""
        return self._admission.position(self)

    async def moved(self, *, look_every_s: float) -> int:
        """Wait until admitted or until the position changed, and return the position.

        Changes are looked for, not waited for: people read no faster than once a second, and five
        hundred in line must not wake up for each one that leaves it. Being admitted is told at once.
        Raises RateLimited when the endpoint closed its door for long.
        """
        before = self.position
        while self.position == before and not self._admitted.done():
            await asyncio.wait({self._admitted}, timeout=look_every_s)
        if self._admitted.done():
            self._admitted.result()
        return self.position

    def leave(self) -> None:
        """Give back the slot, or the place in line. Harmless when done twice."""
        self._admission.leave(self)

    def admit(self, now_s: float) -> None:
        self.admitted_at_s = now_s
        if not self._admitted.done():
            self._admitted.set_result(None)

    def refuse(self, error: errors.UpstreamError) -> None:
        if not self._admitted.done():
            self._admitted.set_exception(error)
            # Not every one of those who leave has looked.
            self._admitted.exception()


class Admission:
    """The slots of an endpoint and the line before them.

    `waiting_max`: nobody is taken into the line behind so many. Those of lower priority are not in the
    way: a full line of bulk keeps nobody out who talks to a model. `pause_max_s`: a pause that is
    longer is not waited for, but refused with the time named. `shared`: the count of all processes for
    `endpoint`.
    """

    def __init__(
        self,
        slots: int = 32,
        *,
        waiting_max: int = 500,
        pause_max_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        endpoint: str = "",
        shared: SharedSlots | None = None,
    ) -> None:
        self._slots = slots
        self._waiting_max = waiting_max
        self._pause_max_s = pause_max_s
        self._clock = clock
        self._running: set[Place] = set()
        # Users in the order of their turns, each with its places.
        self._lines: dict[QueuePriority, dict[Hashable, deque[Place]]] = {each: {} for each in QueuePriority}
        # Worked out when asked for, and kept until something moves.
        self._positions: dict[Place, int] | None = None
        self._passed_over = 0
        self._paused_until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._mean_held_s = 1.0
        self._processes = 1
        self._endpoint = endpoint
        self._shared = shared
        self._is_shared = shared is not None
        self._in_use: int | None = None
        self._news = asyncio.Event()
        self._trading: asyncio.Task[None] | None = None

    # -- what it is like now -------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        return self._slots

    @slots.setter
    def slots(self, slots: int) -> None:
        """Change the number at any time; calls that run already go on."""
        if slots != self._slots:
            self._slots = slots
            self._admit()

    @property
    def processes(self) -> int:
        """How many processes call this endpoint."""
        return self._processes

    @processes.setter
    def processes(self, processes: int) -> None:
        if processes != self._processes:
            self._processes = processes
            self._admit()

    @property
    def limit(self) -> int:
        """How many may run here: all slots where they are counted in common, else this process's part."""
        return self._slots if self._is_shared else max(1, self._slots // self._processes)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def in_use(self) -> int | None:
        """How many run in all processes, as far as it is known."""
        return self._in_use if self._is_shared else None

    @property
    def paused_s(self) -> float:
        """For how long nobody is let in yet."""
        return max(0.0, self._paused_until_s - self._clock())

    def waiting(self, priority: QueuePriority) -> int:
        return sum(map(len, self._lines[priority].values()))

    def position(self, place: Place) -> int:
        if self._positions is None:
            in_line = chain.from_iterable(map(self._in_line, QueuePriority))
            self._positions = {each: number for number, each in enumerate(in_line, start=1)}
        return self._positions.get(place, 0)

    def _in_line(self, priority: QueuePriority) -> Iterator[Place]:
        """Yield those who wait, in the order of their turns."""
        for turn in zip_longest(*self._lines[priority].values()):
            yield from (place for place in turn if place is not None)

    # -- coming and going ----------------------------------------------------------------------------

    def enter(self, priority: QueuePriority, user: Hashable = None) -> Place:
        """Take a place in line, which may be a slot at once. Raises QueueFull, RateLimited."""
        if self.paused_s > self._pause_max_s:
            raise self._closed()
        before = sum(self.waiting(each) for each in QueuePriority if each <= priority)
        place = Place(self, priority, user)
        self._lines[priority].setdefault(user, deque()).append(place)
        self._admit()
        # Where the count is asked first, those who will be let in are in line for a moment, too.
        expected = max(0, self._slots - self.running) if self._is_shared else 0
        if before - expected >= self._waiting_max and not place.is_admitted:
            self.leave(place)
            raise errors.QueueFull(f"{before} wait", retry_after_s=self._until_it_moves_s(before))
        return place

    def leave(self, place: Place) -> None:
        if place in self._running:
            self._running.remove(place)
            held_s = self._clock() - (place.admitted_at_s or 0.0)
            self._mean_held_s += MEAN_WEIGHT * (held_s - self._mean_held_s)
        else:
            self._take_out(place)
        self._admit()

    def pause(self, for_s: float) -> None:
        """Let nobody in for so long; the longest such wish counts."""
        self._paused_until_s = max(self._paused_until_s, self._clock() + min(for_s, PAUSE_MAX_S))
        if self.paused_s > self._pause_max_s:
            for place in list(chain.from_iterable(map(self._in_line, QueuePriority))):
                self._take_out(place)
                place.refuse(self._closed())
        self._admit()

    def _closed(self) -> errors.RateLimited:
        return errors.RateLimited("paused since its last 429", retry_after_s=self.paused_s)

    def _until_it_moves_s(self, before: int) -> float:
        """Guess when the line will be shorter by a tenth."""
        guess_s = self._mean_held_s * before / 10 / max(self._slots, 1)
        return min(max(guess_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)

    # -- letting in ----------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Fill the free slots from the line. Called whenever something moved."""
        self._positions = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.paused_s:
            if any(self._lines.values()):
                self._timer = asyncio.get_running_loop().call_later(self.paused_s, self._admit)
            self._trade()
            return
        self._trade()
        if not self._is_shared:
            self._fill()

    def _fill(self) -> None:
        while len(self._running) < self.limit and (place := self._next()) is not None:
            self._let_in(place)

    def _let_in(self, place: Place) -> None:
        line = self._lines[place.priority]
        self._take_out(place)
        if place.user in line:
            # This was their turn: the next one comes after everybody else's.
            line[place.user] = line.pop(place.user)
        self._running.add(place)
        place.admit(self._clock())

    def _next(self) -> Place | None:
        people_first = [each for each in QueuePriority if self._lines[each]]
        if not people_first:
            return None
        is_passed_over = len(people_first) > 1 and people_first[-1] is QueuePriority.BULK
        priority = QueuePriority.BULK if is_passed_over and self._is_bulk_due() else people_first[0]
        self._passed_over = (
            self._passed_over + 1 if is_passed_over and priority is not QueuePriority.BULK else 0
        )
        return self._first(priority)

    def _first(self, priority: QueuePriority) -> Place | None:
        return next((places[0] for places in self._lines[priority].values()), None)

    def _is_bulk_due(self) -> bool:
        if self.limit == 1:
            return self._passed_over >= PASSED_OVER_MAX
        return not any(place.priority is QueuePriority.BULK for place in self._running)

    def _take_out(self, place: Place) -> None:
        line = self._lines[place.priority]
        places = line.get(place.user, ())
        if place in places:
            self._positions = None
            line[place.user].remove(place)
            if not places:
                del line[place.user]

    # -- with the other processes --------------------------------------------------------------------

    def _trade(self) -> None:
        """See to it that the common count hears of what moved; it may then let somebody in."""
        self._news.set()
        if self._shared is not None and self._trading is None:
            self._trading = asyncio.create_task(self._go_on_trading(self._shared), name="shared slots")

    async def _go_on_trading(self, shared: SharedSlots) -> None:
        """Tell and ask, until nothing is held here and nobody waits."""
        try:
            while self._news.is_set() or self._running or any(self._lines.values()):
                self._news.clear()
                held, waiting = self._held(), self._asking()
                try:
                    trade = await shared.trade(self._endpoint, self._slots, held, waiting)
                except SharingFailed:
                    self._is_shared = False
                    self._admit()
                    await asyncio.sleep(TRY_AGAIN_S)
                    continue
                self._is_shared, self._in_use = True, trade.in_use
                self._use(trade.granted)
                await self._news_within(ASK_EVERY_S if any(self._asking()) else TELL_EVERY_S)
        finally:
            self._trading = None

    async def _news_within(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def _use(self, granted: Counts) -> None:
        self._positions = None
        for priority, count in zip(QueuePriority, granted, strict=True):
            for _ in range(count):
                place = self._first(priority)
                if place is None or self.paused_s:
                    self._news.set()  # it is given back at once
                else:
                    self._let_in(place)

    def _held(self) -> Counts:
        held = Counter(place.priority for place in self._running)
        return tuple(held[each] for each in QueuePriority)

    def _asking(self) -> Counts:
        return tuple(0 if self.paused_s else self.waiting(each) for each in QueuePriority)
