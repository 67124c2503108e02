"""A worker: the runtime of a process that Celery starts, on an event loop in a thread of its own.

The loop runs the heartbeat, the writer, hundreds of bulk answers, and the tasks that messages name. So one
client, one set of breakers and one admission queue serve the whole process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from django.conf import settings

from chat.models.process import Process
from chat.runtime.heartbeat import ScheduledTasks
from chat.runtime.process import Runtime


class Worker:
    """The event loop of a worker process. Its methods are called from other threads."""

    def __init__(self, scheduled: ScheduledTasks) -> None:
        self._scheduled = scheduled
        self._loop = asyncio.new_event_loop()
        self._runtime: Runtime | None = None
        self._drained: Future[None] | None = None

    def start(self) -> None:
        """Start everything. Raises what prevents the start, such as DatabaseError."""
        self._runtime = Runtime(Process.Kind.WORKER, scheduled=self._scheduled)
        threading.Thread(target=self._loop.run_forever, name="event loop", daemon=True).start()
        self._run(self._runtime.start()).result()

    def drain(self) -> None:
        """Pick up nothing more; running answers may go on for a while. Returns at once."""
        if self._drained is None and self._runtime is not None:
            self._drained = self._run(self._runtime.drain(settings.DRAIN_S))

    def stop(self) -> None:
        """Stop everything, after `drain`."""
        self.drain()
        if self._runtime is None or self._drained is None:
            return
        self._drained.result()
        self._run(self._runtime.stop()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
