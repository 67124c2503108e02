"""Time for tests: a clock that can be put forward, and an event loop whose waits take none."""

import asyncio
import selectors
import time


class Clock:
    """The real time, and what was skipped of it."""

    def __init__(self):
        self._skipped_s = 0.0

    def __call__(self):
        return time.monotonic() + self._skipped_s

    def skip(self, seconds):
        self._skipped_s += seconds


class _NoWait(selectors.SelectSelector):
    def __init__(self):
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout=None):
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("everybody waits, and for nothing that will ever come")
            self.now_s += timeout
        return found


class WarpLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when all sleep, its clock jumps to the first who wakes."""

    def __init__(self):
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self):
        return self._no_wait.now_s


def warped(main):
    """Run a coroutine to its end in no time; what it takes for time is its loop's."""
    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        return runner.run(main)
