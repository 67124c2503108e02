"""The runtime of one operating-system process: all that a server, a worker or a command consists of.

`Runtime` is an async context manager. It starts the parts in the order in which they need one another,
drains them, and stops them in the opposite order. It owns the writer, the upstream client and state, the
runner of generations, the heartbeat, the notifications, the open connections and the background tasks.

Entry points reach the parts through `current_runtime()`, the one global of the program. Where no runtime
has been started (a management command, a test of a view), it returns a passive one, which only stores:
a running server picks up what it stored.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection

from chat import upstream
from chat.attachments.received import keep_image
from chat.background import BackgroundTasks
from chat.event_log.log import EventLog
from chat.event_log.writer import InlineWriter, ThreadWriter, Writer
from chat.generation import routing
from chat.generation.runner import GenerationRunner
from chat.local_model.supervisor import LocalModel
from chat.models.generation import Generation
from chat.models.process import Process
from chat.notifications import Notifications
from chat.runtime.cleanup import Cleanup
from chat.runtime.connections import Connections
from chat.runtime.database_thread import DatabaseReader, DatabaseThread, read_on_shared_thread
from chat.runtime.heartbeat import Heartbeat, Identity, ScheduledTasks
from chat.runtime.readiness import ReadinessCheck
from chat.runtime.session_expiry import SessionExpiry
from chat.runtime.warm_up import warm_up

if TYPE_CHECKING:
    from chat.runtime.redis_slots import RedisSlots

# More tasks of Django's task framework than this at a time are not started; the heartbeat finds their rows.
TASKS_MAX = 10_000
# How long tasks may take to end once the process stops.
TASKS_STOP_S = 1.0
# How long a command's answers may take to end once the command does; a server ends the others.
COMMAND_DRAIN_S = 2.0


class Runtime:
    """The runtime of one process. Belongs to the event loop that starts it."""

    def __init__(
        self,
        kind: Process.Kind,
        *,
        url: str = "",
        local_model: LocalModel | None = None,
        scheduled: ScheduledTasks | None = None,
        writer: Writer | None = None,
        read: DatabaseReader | None = None,
        is_alone: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the parts; nothing runs yet.

        `url`: a server's address. `local_model`: to be started. `scheduled`: what the heartbeat enqueues, in
        servers and workers. `writer`, `read`: other ones than the threads of a real process. `is_alone`:
        this is the only server of the database; None: as on SQLite, where servers hold a lock file.
        """
        self.id = uuid.uuid4().hex
        self.kind = kind
        self.local_model = local_model
        self.writer = writer or ThreadWriter()
        self.log = EventLog(self.writer)
        self.client = upstream.Client()
        self.background = BackgroundTasks()
        self.tasks = BackgroundTasks(max_tasks=TASKS_MAX)
        self.connections = Connections()
        self.cleanup = Cleanup()
        redis = _redis_slots(self.id)
        self.upstream_state = routing.new_upstream_state(redis)
        layer = get_channel_layer() if settings.REDIS_URL else None
        self.notifications = Notifications(layer, process_id=self.id)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = DatabaseThread()
        self.read: DatabaseReader = read or self._thread
        self.runner = self._new_runner()
        self.notifications.on_stop(self.runner.stop)
        self.heartbeat = self._new_heartbeat(url, scheduled, is_alone, clock)
        self.readiness = ReadinessCheck(self.writer, self.heartbeat, self.notifications, self.read, redis)

    def _new_runner(self) -> GenerationRunner:
        return GenerationRunner(
            self.id,
            log=self.log,
            client=self.client,
            upstream_state=self.upstream_state,
            notifications=self.notifications,
            background=self.background,
            keep_image=partial(keep_image, self.writer),
            local_model=self.local_model,
        )

    def _new_heartbeat(
        self,
        url: str,
        scheduled: ScheduledTasks | None,
        is_alone: bool | None,
        clock: Callable[[], float],
    ) -> Heartbeat:
        return Heartbeat(
            Identity(self.id, self.kind, url),
            writer=self.writer,
            read=self.read,
            runner=self.runner,
            connections=self.connections,
            session_expiry=SessionExpiry(self.connections, self.background, self.read),
            notifications=self.notifications,
            scheduled=scheduled,
            dead_after_s=settings.PROCESS_DEAD_AFTER_S,
            is_alone=_is_alone(self.kind) if is_alone is None else is_alone,
            clock=clock,
        )

    # -- life ---------------------------------------------------------------------------------------

    async def __aenter__(self) -> Runtime:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all parts, on the event loop that they will use. If this fails, call `stop` as well."""
        self.open()
        if self.local_model is not None:
            # First: it loads in another process while this one goes on.
            self.local_model.start()
        self.background.start(self.notifications.run(), "notifications")
        await self.heartbeat.start(self.background)
        # Takes a second or two, which the first page need not wait for.
        self.background.start(asyncio.to_thread(warm_up, self.client), "import the SDK")

    def open(self) -> None:
        """Become the current runtime and accept work, without a heartbeat: the first part of `start`."""
        _set_current(self)
        self.loop = asyncio.get_running_loop()
        self.notifications.open()
        self.runner.open()

    async def drain(self, timeout_s: float) -> None:
        """Start no more generations; let the running ones go on for `timeout_s`, then hand them over."""
        await self.runner.drain(timeout_s)

    async def stop(self) -> None:
        """Stop all parts, the last started first. What still runs is recovered by another process."""
        if self.kind == Process.Kind.COMMAND:
            await self._stop_generations()
        await self.heartbeat.stop()
        await self.tasks.close(TASKS_STOP_S)
        await self.background.close()
        await self.client.close()
        if self.local_model is not None:
            await self.local_model.stop()
        await asyncio.to_thread(self.writer.close)
        self._thread.close()
        _set_current(None)

    async def _stop_generations(self) -> None:
        """Stop what a command still runs: its reader is gone."""
        own = Generation.objects.active().filter(owner=self.id)
        await self.writer.arun(own.request_stop)
        for running in self.runner.running():
            self.runner.stop(running.id)
        await self.drain(COMMAND_DRAIN_S)


_current: Runtime | None = None


def current_runtime() -> Runtime:
    """Return the runtime that was started in this process; without one, a passive one that only stores."""
    return _current or Runtime(Process.Kind.COMMAND, writer=InlineWriter(), read=read_on_shared_thread)


def _set_current(runtime: Runtime | None) -> None:
    global _current
    _current = runtime


def _is_alone(kind: Process.Kind) -> bool:
    return kind == Process.Kind.SERVER and connection.vendor == "sqlite"


def _redis_slots(process_id: str) -> RedisSlots | None:
    if not settings.REDIS_URL:
        return None
    # Imported only where it is used: a server without Redis does not load its client.
    from chat.runtime.redis_slots import RedisSlots

    return RedisSlots(settings.REDIS_URL, process=process_id, lease_s=settings.PROCESS_DEAD_AFTER_S)
