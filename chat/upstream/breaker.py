"""The circuit breaker of one model at one endpoint: leaves alone what keeps failing, then probes it.

    closed ──5 failures in a row, or half of ten or more in a minute──▶ open ──15 s──▶ half_open
       ▲                                                                 ▲                 │
       └──────── its first words arrive ─────────── one probe ── it fails or is lost ──────┘

What counts is said by the errors (`UpstreamError.counts_against`): 5xx, time-outs, lost connections,
streams that are no answer. Not 4xx, not 429, not a stop. A call is judged at its first delta, so that
one long answer does not keep others waiting; a call that breaks after it has counted as a success and
then counts as a failure, so five such calls in a minute open it too. What ends a probe without a verdict
(a stop, a 400) hands the turn to the next in line.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

INFINITE_S = float("inf")


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and for how long: `open_s`, and up to the part `open_jitter` of it longer."""

    failures_in_a_row: int = 5
    failure_share: float = 0.5
    calls_min: int = 10
    window_s: float = 60.0
    open_s: float = 15.0
    open_jitter: float = 0.3
    # A probe that has not been judged by then is lost; a call moves this to its own time-out.
    probe_s: float = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to make one call. Void once its breaker has opened or closed since."""

    era: int
    is_probe: bool = False


@dataclass(slots=True, eq=False)
class _Place:
    calls: int
    arrival: int
    granted: asyncio.Future[Permit | None]


@dataclass(slots=True, eq=False)
class Breaker:
    """`permit` or `turn` before a call, then `begin`, then one of `succeeded`, `failed`, `withdrawn`."""

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    # An operator holds it open.
    is_held: bool = False
    # When it last left `closed`, by `clock`; None while closed.
    opened_at_s: float | None = None
    _era: int = 0
    # While open: when it may be probed. While a probe is out: when that one is lost.
    _until_s: float = 0.0
    _probe: Permit | None = None
    _in_a_row: int = 0
    _recent: deque[tuple[float, bool]] = field(default_factory=deque)
    _line: list[_Place] = field(default_factory=list)
    _arrivals: itertools.count[int] = field(default_factory=itertools.count)
    _timer: asyncio.TimerHandle | None = None

    @property
    def state(self) -> BreakerState:
        if self.opened_at_s is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._probe is not None or self.wait_s == 0 else BreakerState.OPEN

    @property
    def wait_s(self) -> float:
        """How long until a call may be let through, at most; 0: one may now; infinite: held open."""
        if self.opened_at_s is None:
            return 0.0
        return INFINITE_S if self.is_held else max(0.0, self._until_s - self.clock())

    @property
    def waiting(self) -> int:
        """How many wait in line for it."""
        return len(self._line)

    # -- asking --------------------------------------------------------------------------------------

    def permit(self) -> Permit | None:
        """Return leave for one call, the only one in half-open; None if it must not be made now."""
        if self.opened_at_s is None:
            return Permit(self._era)
        if self.wait_s > 0:
            return None
        self._probe = Permit(self._era, is_probe=True)
        self._until_s = self.clock() + self.policy.probe_s
        return self._probe

    async def turn(self, calls: int) -> Permit | None:
        """Wait in line for a permit; None once it opened anew, so that the new wait can be told.

        `calls`: how many have been made already. Whoever has lost the fewest probes next.
        """
        place = _Place(calls, next(self._arrivals), asyncio.get_running_loop().create_future())
        self._line.append(place)
        self._arm()
        try:
            return await place.granted
        except asyncio.CancelledError:
            # Granted and cancelled in one turn of the loop: nobody else knows of that permit.
            if place.granted.done() and not place.granted.cancelled() and (lost := place.granted.result()):
                self.withdrawn(lost)
            raise
        finally:
            if place in self._line:
                self._line.remove(place)

    def begin(self, permit: Permit, *, judged_within_s: float) -> Permit | None:
        """Say that the call is made now, and return the permit to judge it by; None: it must not be made.

        A permit may have become void since it was given, while its holder waited for a slot.
        """
        if self._is_current(permit):
            if permit.is_probe:
                self._until_s = self.clock() + judged_within_s
            return permit
        return Permit(self._era) if self.opened_at_s is None else None

    def _is_current(self, permit: Permit) -> bool:
        return permit is self._probe if permit.is_probe else permit.era == self._era

    # -- verdicts ------------------------------------------------------------------------------------

    def succeeded(self, permit: Permit) -> None:
        """Note that the endpoint answers."""
        if not self._is_current(permit):
            return
        if permit.is_probe:
            self._close()
        else:
            self._note(failed=False)

    def failed(self, permit: Permit) -> None:
        """Note a failure that counts against the endpoint."""
        if not self._is_current(permit):
            return
        if permit.is_probe:
            self._open()
            return
        self._note(failed=True)
        failures = sum(failed for _when_s, failed in self._recent)
        is_bad = len(self._recent) >= self.policy.calls_min and (
            failures >= self.policy.failure_share * len(self._recent)
        )
        if is_bad or self._in_a_row >= self.policy.failures_in_a_row:
            self._open()

    def withdrawn(self, permit: Permit) -> None:
        """Note that the call ended without a verdict, or was never made."""
        if permit.is_probe and self._is_current(permit):
            self._probe = None
            self._until_s = self.clock()
            self._arm()

    def _note(self, *, failed: bool) -> None:
        now_s = self.clock()
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self._recent.append((now_s, failed))
        while self._recent[0][0] < now_s - self.policy.window_s:
            self._recent.popleft()

    # -- the operator's word -------------------------------------------------------------------------

    def hold_open(self) -> None:
        """Let no call through until `close`."""
        if not self.is_held:
            self.is_held = True
            self._open()

    def close(self) -> None:
        """Let calls through now, whatever was."""
        if self.opened_at_s is not None:
            self._close()

    # -- moving --------------------------------------------------------------------------------------

    def _open(self) -> None:
        jitter = self.uniform(1.0, 1 + self.policy.open_jitter)
        now_s = self.clock()
        self.opened_at_s = now_s if self.opened_at_s is None else self.opened_at_s
        self._until_s = now_s + self.policy.open_s * jitter
        self._move(lambda: None)

    def _close(self) -> None:
        self.is_held, self.opened_at_s = False, None
        self._move(lambda: Permit(self._era))

    def _move(self, grant: Callable[[], Permit | None]) -> None:
        """Begin a new era: earlier permits are void, counts begin anew, and all who wait are told."""
        self._era += 1
        self._probe, self._in_a_row = None, 0
        self._recent.clear()
        line, self._line = self._line, []
        for place in line:
            if not place.granted.done():
                place.granted.set_result(grant())

    def _arm(self) -> None:
        """See to it that the line moves when the wait is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line and not self.is_held:
            self._timer = asyncio.get_running_loop().call_later(self.wait_s, self._let_one_through)

    def _let_one_through(self) -> None:
        waiting = [place for place in self._line if not place.granted.done()]
        if waiting and (permit := self.permit()) is not None:
            chosen = min(waiting, key=lambda place: (place.calls, place.arrival))
            self._line.remove(chosen)
            chosen.granted.set_result(permit)
        self._arm()
