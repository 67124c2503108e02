"""What all calls of a process share: breakers, slots and queues."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chat.upstream.admission import PAUSE_MAX_S, WAITING_MAX, Admission
from chat.upstream.breaker import INFINITE_S, Breaker, BreakerPolicy, BreakerState
from chat.upstream.queue import INTERACTIVE_SHARE, QueuePriority
from chat.upstream.shared_slots import SharedSlots
from chat.upstream.types import Target, TargetKey

# For how long other answers of this process know of a refused parameter without its being stored.
REFUSED_S = 60.0


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """The breaker of one model.

    `wait_s`: until the next probe, at most; None: an operator holds it open. `waiting`: calls that wait.
    """

    endpoint: str
    model: str
    state: BreakerState
    is_held: bool
    wait_s: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """The slots and the queue of one endpoint, as this process sees them.

    `limit`: how many of the `slots` this process may use; it uses `running`. `in_use`: the slots in use in
    all `processes`, None if that is not known. `waiting`: calls by the name of their priority. `paused_s`:
    what is left of a pause that the endpoint asked for.
    """

    endpoint: str
    slots: int
    limit: int
    running: int
    in_use: int | None
    processes: int
    waiting: dict[str, int]
    paused_s: float


@dataclass(slots=True)
class UpstreamState:
    """A breaker for each model and an admission for each endpoint.

    They are created on first use. Belongs to one event loop.
    """

    breaker_policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    waiting_max: int = WAITING_MAX
    pause_max_s: float = 60.0
    interactive_share: float = INTERACTIVE_SHARE
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    # The slots shared by all processes; without it each process uses its share.
    shared: SharedSlots | None = None
    processes: int = 1
    _refused_until_s: dict[TargetKey, dict[str, float]] = field(default_factory=dict)
    _paused_until_s: dict[TargetKey, float] = field(default_factory=dict)
    _breakers: dict[TargetKey, Breaker] = field(default_factory=dict)
    _admissions: dict[str, Admission] = field(default_factory=dict)

    def breaker(self, target: Target) -> Breaker:
        """Return the breaker of a model at its endpoint."""
        return self._breaker(*target.key)

    def admission(self, target: Target) -> Admission:
        """Return the slots and the queue of a target's endpoint.

        The number of slots is set to the target's, so that a change applies from the next call on.
        """
        name, _model = target.key
        if name not in self._admissions:
            self._admissions[name] = Admission(
                target.slots,
                waiting_max=self.waiting_max,
                pause_max_s=self.pause_max_s,
                interactive_share=self.interactive_share,
                clock=self.clock,
                endpoint=name,
                shared=self.shared,
            )
            self._admissions[name].processes = self.processes
        admission = self._admissions[name]
        admission.slots = target.slots
        return admission

    def pause(self, target: Target, for_s: float, *, is_for_endpoint: bool) -> None:
        """Start no calls to a model, or to all models of its endpoint, for so long."""
        if is_for_endpoint:
            self.admission(target).pause(for_s)
        until_s = self.clock() + min(for_s, PAUSE_MAX_S)
        self._paused_until_s[target.key] = max(until_s, self._paused_until_s.get(target.key, 0.0))

    def paused_s(self, target: Target) -> float:
        """For how much longer a model's own rate limit allows no call."""
        return max(0.0, self._paused_until_s.get(target.key, 0.0) - self.clock())

    def note_refused(self, target: Target, parameter: str) -> None:
        """Tell the other answers of this process what a target does not accept.

        Only for a while: the caller stores it, and passes it on with the targets of later answers.
        """
        self._refused_until_s.setdefault(target.key, {})[parameter] = self.clock() + REFUSED_S

    def recently_refused(self, target: Target) -> frozenset[str]:
        """Return the parameters that the target refused in the last minute."""
        known = self._refused_until_s.get(target.key)
        if not known:
            return frozenset()
        now_s = self.clock()
        return frozenset(name for name, until_s in known.items() if until_s > now_s)

    def set_process_count(self, processes: int) -> None:
        """Divide the slots of all endpoints by so many processes."""
        self.processes = processes
        for admission in self._admissions.values():
            admission.processes = processes

    def _breaker(self, endpoint: str, model: str) -> Breaker:
        key = (endpoint, model)
        if key not in self._breakers:
            self._breakers[key] = Breaker(self.breaker_policy, self.clock, self.uniform)
        return self._breakers[key]

    # -- for operators -------------------------------------------------------------------------------

    def hold_open(self, endpoint: str, model: str) -> None:
        """Allow no calls to a model until `close`."""
        self._breaker(endpoint, model).hold_open()

    def close(self, endpoint: str, model: str) -> None:
        """Allow calls to a model again, whatever the state of its breaker."""
        self._breaker(endpoint, model).close()

    def breakers(self) -> list[BreakerStatus]:
        return [
            BreakerStatus(
                endpoint,
                model,
                breaker.state,
                breaker.is_held,
                None if breaker.wait_s == INFINITE_S else round(breaker.wait_s, 1),
                breaker.waiting,
            )
            for (endpoint, model), breaker in sorted(self._breakers.items())
        ]

    def endpoints(self) -> list[EndpointStatus]:
        return [
            EndpointStatus(
                endpoint,
                admission.slots,
                admission.limit,
                admission.running,
                admission.in_use,
                admission.processes,
                {priority.name.lower(): admission.waiting(priority) for priority in QueuePriority},
                round(admission.paused_s, 1),
            )
            for endpoint, admission in sorted(self._admissions.items())
        ]
