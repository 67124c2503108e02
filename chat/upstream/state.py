"""What all calls of a process share: the breaker of each model, the slots and the line of each endpoint."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chat.upstream.admission import Admission, QueuePriority
from chat.upstream.breaker import INFINITE_S, Breaker, BreakerPolicy, BreakerState
from chat.upstream.shared_slots import SharedSlots
from chat.upstream.types import Target, TargetKey


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """`wait_s`: until it is probed, at most; None: until an operator closes it. `waiting`: behind it."""

    endpoint: str
    model: str
    state: BreakerState
    is_held: bool
    wait_s: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """`waiting` counts by priority, in words; `paused_s`: the rest of a pause it asked for.

    `limit`: how many of its `slots` may be in use here, where `running` are; `in_use`: in all
    `processes` together, None where nobody counts that.
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
    """Breakers and admissions, made when first asked for. Belongs to one event loop."""

    breaker_policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    waiting_max: int = 500
    pause_max_s: float = 60.0
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    # Where slots are counted for all processes; without it each takes its part.
    shared: SharedSlots | None = None
    processes: int = 1
    # Targets (see `Target.key`) that refused to continue a partial answer.
    without_prefill: set[TargetKey] = field(default_factory=set)
    _breakers: dict[TargetKey, Breaker] = field(default_factory=dict)
    _admissions: dict[str, Admission] = field(default_factory=dict)

    def breaker(self, target: Target) -> Breaker:
        """Return the breaker of a model at its endpoint."""
        return self._breaker(*target.key)

    def admission(self, target: Target) -> Admission:
        """Return the slots and the line of a target's endpoint, with as many slots as its row says now."""
        name, _model = target.key
        if name not in self._admissions:
            self._admissions[name] = Admission(
                target.slots,
                waiting_max=self.waiting_max,
                pause_max_s=self.pause_max_s,
                clock=self.clock,
                endpoint=name,
                shared=self.shared,
            )
            self._admissions[name].processes = self.processes
        admission = self._admissions[name]
        admission.slots = target.slots
        return admission

    def set_process_count(self, processes: int) -> None:
        """Share the slots of all endpoints with so many processes, this one included."""
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
        """Send no call to a model until `close`."""
        self._breaker(endpoint, model).hold_open()

    def close(self, endpoint: str, model: str) -> None:
        """Send calls to a model again, whatever was."""
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
                {each.name.lower(): admission.waiting(each) for each in QueuePriority},
                round(admission.paused_s, 1),
            )
            for endpoint, admission in sorted(self._admissions.items())
        ]
