"""Circuit breaker: stops calls to a failing model, then probes it.

    closed ──5 failures in a row, or half of ten or more in a minute──▶ open ──15 s──▶ half_open
       ▲                                                                 ▲                 │
       └──────── its first delta arrives ────────── one probe ── it fails or is lost ──────┘

The errors define what counts (`UpstreamError.counts_against`): 5xx, timeouts, lost connections and invalid
streams do; 4xx, 429 and a stop do not. The outcome of a call is recorded at its first delta, so that a long
answer does not delay other calls. A call that fails after its first delta has counted as a success and then
counts as a failure, so five such calls in a minute open the breaker too. A probe that ends without an
outcome (a stop, a 400) passes its permit on to the next waiting call.
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
    """When a breaker opens, and for how long.

    It stays open for `open_s`, plus a random part of up to `open_jitter` of that.
    """

    # More than the three calls of one answer, so that a single request cannot open it.
    failures_in_a_row: int = 5
    # Or half of at least ten calls in a minute, for faults that let some calls through.
    failure_share: float = 0.5
    calls_min: int = 10
    window_s: float = 60.0
    # A model server restarts in this time, and a user is willing to wait for it.
    open_s: float = 15.0
    open_jitter: float = 0.3
    # A probe without an outcome is lost after this time; `start_call` replaces it by the call's own.
    probe_s: float = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Permission for one call. It becomes void when the breaker opens or closes."""

    version: int
    is_probe: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    calls_made: int
    arrival: int
    permit: asyncio.Future[Permit | None]


@dataclass(slots=True, eq=False)
class Breaker:
    """The breaker of one model at one endpoint.

    For each call: get a permit with `try_acquire` or `acquire`, then `start_call`, then report the outcome
    with `record_success`, `record_failure` or `release`.
    """

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    # Whether an operator holds it open.
    is_held: bool = False
    # When it last left `closed`, by `clock`; None while closed.
    opened_at_s: float | None = None
    # Increases whenever the breaker opens or closes; permits of earlier versions are void.
    _version: int = 0
    # While open: when a probe may start. During a probe: when the probe counts as lost.
    _until_s: float = 0.0
    _probe: Permit | None = None
    _failures_in_a_row: int = 0
    # (when, whether it failed), within the window.
    _outcomes: deque[tuple[float, bool]] = field(default_factory=deque)
    _waiters: list[_Waiter] = field(default_factory=list)
    _arrivals: itertools.count[int] = field(default_factory=itertools.count)
    _timer: asyncio.TimerHandle | None = None

    @property
    def state(self) -> BreakerState:
        if self.opened_at_s is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._probe is not None or self.wait_s == 0 else BreakerState.OPEN

    @property
    def wait_s(self) -> float:
        """How long until a call may start, at most; infinite if held open."""
        if self.opened_at_s is None:
            return 0.0
        return INFINITE_S if self.is_held else max(0.0, self._until_s - self.clock())

    @property
    def waiting(self) -> int:
        """How many calls wait for a permit."""
        return len(self._waiters)

    # -- permits -------------------------------------------------------------------------------------

    def try_acquire(self) -> Permit | None:
        """Return a permit for one call; None if no call may start now.

        While half-open there is only one permit: the probe.
        """
        if self.opened_at_s is None:
            return Permit(self._version)
        if self.wait_s > 0:
            return None
        self._probe = Permit(self._version, is_probe=True)
        self._until_s = self.clock() + self.policy.probe_s
        return self._probe

    async def acquire(self, calls_made: int) -> Permit | None:
        """Wait for a permit; None if the breaker opened again.

        The caller can then display the new wait, and call this again.
        `calls_made`: how many calls this answer has used. The one with the fewest gets the probe, since it
        has the most left if the probe fails.
        """
        waiter = _Waiter(calls_made, next(self._arrivals), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._schedule_probe()
        try:
            return await waiter.permit
        except asyncio.CancelledError:
            # Granted and cancelled in one iteration of the loop: the permit would be lost.
            if waiter.permit.done() and not waiter.permit.cancelled() and (lost := waiter.permit.result()):
                self.release(lost)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def start_call(self, permit: Permit, *, outcome_within_s: float) -> Permit | None:
        """Return the permit to use for the outcome; None if the call must not be made.

        A permit may become void while its holder waits for a slot. If the breaker has closed since, the
        permit is replaced by a valid one.
        """
        if self._is_valid(permit):
            if permit.is_probe:
                self._until_s = self.clock() + outcome_within_s
            return permit
        return Permit(self._version) if self.opened_at_s is None else None

    def _is_valid(self, permit: Permit) -> bool:
        return permit is self._probe if permit.is_probe else permit.version == self._version

    # -- outcomes ------------------------------------------------------------------------------------

    def record_success(self, permit: Permit) -> None:
        """Record that the model answers."""
        if not self._is_valid(permit):
            return
        if permit.is_probe:
            self._close()
        else:
            self._record(failed=False)

    def record_failure(self, permit: Permit) -> None:
        """Record a failure that counts against the endpoint."""
        if not self._is_valid(permit):
            return
        if permit.is_probe:
            self._open()
            return
        self._record(failed=True)
        failures = sum(failed for _when_s, failed in self._outcomes)
        has_failing_share = len(self._outcomes) >= self.policy.calls_min and (
            failures >= self.policy.failure_share * len(self._outcomes)
        )
        if has_failing_share or self._failures_in_a_row >= self.policy.failures_in_a_row:
            self._open()

    def release(self, permit: Permit) -> None:
        """Give back the permit of a call that was not made, or ended without an outcome."""
        if permit.is_probe and self._is_valid(permit):
            self._probe = None
            self._until_s = self.clock()
            self._schedule_probe()

    def _record(self, *, failed: bool) -> None:
        now_s = self.clock()
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        self._outcomes.append((now_s, failed))
        while self._outcomes[0][0] < now_s - self.policy.window_s:
            self._outcomes.popleft()

    # -- operator overrides --------------------------------------------------------------------------

    def hold_open(self) -> None:
        """Allow no calls until `close`."""
        if not self.is_held:
            self.is_held = True
            self._open()

    def close(self) -> None:
        """Allow calls now, whatever the state."""
        if self.opened_at_s is not None:
            self._close()

    # -- transitions ---------------------------------------------------------------------------------

    def _open(self) -> None:
        jitter = self.uniform(1.0, 1 + self.policy.open_jitter)
        now_s = self.clock()
        self.opened_at_s = now_s if self.opened_at_s is None else self.opened_at_s
        self._until_s = now_s + self.policy.open_s * jitter
        self._start_version(lambda: None)

    def _close(self) -> None:
        self.is_held, self.opened_at_s = False, None
        self._start_version(lambda: Permit(self._version))

    def _start_version(self, permit_for_waiter: Callable[[], Permit | None]) -> None:
        """Void earlier permits, reset the counts, and answer every waiting call."""
        self._version += 1
        self._probe, self._failures_in_a_row = None, 0
        self._outcomes.clear()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.permit.done():
                waiter.permit.set_result(permit_for_waiter())

    def _schedule_probe(self) -> None:
        """Set the timer that grants the next probe to a waiting call."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiters and not self.is_held:
            self._timer = asyncio.get_running_loop().call_later(self.wait_s, self._grant_probe)

    def _grant_probe(self) -> None:
        waiters = [waiter for waiter in self._waiters if not waiter.permit.done()]
        if waiters and (permit := self.try_acquire()) is not None:
            chosen = min(waiters, key=lambda waiter: (waiter.calls_made, waiter.arrival))
            self._waiters.remove(chosen)
            chosen.permit.set_result(permit)
        self._schedule_probe()
