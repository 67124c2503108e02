"""Time limits of rendering, and the deadline that long work checks."""

import time
from collections.abc import Callable

# A long answer of 20 kB takes 50 ms.
TIME_LIMIT_S = 0.5
CHILD_TIME_LIMIT_S = 10.0


class DeadlineExceeded(Exception):
    """Rendering takes too long."""


class Deadline:
    """A moment after which `check` raises DeadlineExceeded."""

    def __init__(self, time_limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + time_limit_s

    def check(self) -> None:
        if self._clock() > self._ends_at:
            raise DeadlineExceeded
