"""What one answer may cost: how many calls, how much waiting, how much time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from chat.upstream.types import Recovery, TargetKey


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and for how long a call is retried.

    `recoveries`: how an interrupted answer may be completed; if empty, its text is kept as it is.
    """

    # Three calls survive a short fault; more only add load to a provider in trouble.
    calls_per_target: int = 3
    recoveries: frozenset[Recovery] = frozenset(Recovery)
    # Most faults are short, so the first retry follows soon. Waits above 8 s would not spare a provider.
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 8.0
    # A user may wait a minute in front of a page; after that, a fallback or a clear failure is better.
    retry_after_max_s: float = 60.0
    backoff_total_s: float = 60.0

    def backoff_s(self, retry: int, uniform: Callable[[float, float], float]) -> float:
        """Return the wait before a retry (1, 2, …): exponential, with full jitter."""
        return uniform(0.0, min(self.backoff_cap_s, self.backoff_first_s * 2 ** (retry - 1)))


DEFAULT_POLICY = Policy()


@dataclass(slots=True)
class CallBudget:
    """The calls and recoveries left for one generation; counted down by `stream`.

    A process that takes the generation over continues with the same budget. A recovery is counted when the
    answer is interrupted, before the call that completes it.
    """

    calls_left: int = 8
    recoveries_left: int = 2
    calls_made: Counter[TargetKey] = field(default_factory=Counter)


@dataclass(slots=True)
class AnswerDeadline:
    """When the total timeout of an answer expires, in the time of the event loop."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> AnswerDeadline:
        return cls(asyncio.get_running_loop().time() + seconds)

    @property
    def left_s(self) -> float:
        return self.at_s - asyncio.get_running_loop().time()

    def extend(self, seconds: float) -> None:
        """Move the deadline by time that does not count, such as the time in a queue."""
        self.at_s += seconds
