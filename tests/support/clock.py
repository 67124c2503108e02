"""Time in tests: a clock that can skip time, and an event loop whose waits take no time."""

import asyncio
import selectors
import time


class Clock:
    """The real time plus the skipped time."""

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
                raise RuntimeError("all tasks wait for something that never happens")
            self.now_s += timeout
        return found


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when all tasks sleep, its clock jumps to the next wake-up."""

    def __init__(self):
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self):
        return self._no_wait.now_s


def run_without_waiting(main):
    """Run a coroutine to its end without waiting; it must use the loop's clock."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(main)
