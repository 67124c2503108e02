"""What a worker process runs beside the broker's consumer: one event loop, on a thread of its own.

On it are the heartbeat, the writer, hundreds of bulk answers, and the tasks that messages ask for. So one
client, one set of breakers and one line are for the whole process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from django.conf import settings

from chat.event_log import log as delta_log
from chat.generation import runner as generations
from chat.models.process import Process
from chat.runtime import heartbeat
from chat.runtime.task_backends import local as task_backends

logger = logging.getLogger(__name__)


class Worker:
    """The event loop of a worker process and what runs on it. Its methods are called from other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._drained: Future[None] | None = None

    def start(self) -> None:
        """Start everything. Raises what keeps it from starting, DatabaseError for one."""
        threading.Thread(target=self._loop.run_forever, name="event loop", daemon=True).start()
        self._run(self._start()).result()

    def drain(self) -> None:
        """Take up nothing more; answers in progress have a while. Returns at once."""
        if self._drained is None:
            self._drained = self._run(generations.drain(settings.DRAIN_S))

    def stop(self) -> None:
        """End everything, after `drain`."""
        self.drain()
        assert self._drained is not None
        self._drained.result()
        self._run(self._stop()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _start(self) -> None:
        task_backends.open_home(self._loop)
        delta_log.open_writer()
        await heartbeat.start(kind=Process.Kind.WORKER)
        await asyncio.to_thread(generations.prepare)

    async def _stop(self) -> None:
        await heartbeat.stop()
        await task_backends.close_home()
        await asyncio.to_thread(delta_log.close_writer)

    def _run(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
