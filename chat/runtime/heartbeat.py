"""Heartbeat loop: runs once a second in every process that runs answers (server, worker, command).

The event loop drives it, so a loop that hangs loses its claim. Each tick increments this process's
counter, writes its status for operators and applies their overrides, stops generations whose stop was
requested, picks up generations that wait or whose process died, and closes connections whose session
ended. Now and then it enqueues the cleanup.

Servers pick up what users and programs ask for. Bulk belongs to workers, and to servers while no worker
lives. A command runs its own answer and picks up no other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from django.utils import timezone

import chat
from chat.background import BackgroundTasks
from chat.event_log.writer import Writer
from chat.generation.runner import GenerationRunner
from chat.models.batch import Batch
from chat.models.budget import presence
from chat.models.catalog import title_writers
from chat.models.generation import Generation
from chat.models.process import BreakerOverride, Process
from chat.models.webhook import Webhook
from chat.notifications import Notifications, changes_since
from chat.runtime import operator
from chat.runtime.connections import Connections
from chat.runtime.database_thread import DatabaseReader
from chat.runtime.session_expiry import SessionExpiry
from chat.runtime.takeover import OwnedGeneration, ProcessState, TakeoverWatch, bulk_kind, cleanup_process

logger = logging.getLogger(__name__)

TICK_S = 1.0
# A tick that takes longer is abandoned; the next one starts afresh.
TICK_TIMEOUT_S = 5.0
# A last tick that is older means that the loop or the database is stuck.
LATE_S = 5.0
CLEANUP_EVERY_TICKS = 30
# How often bulk of a user without room in a budget is tried again.
FORGET_EVERY_TICKS = 5
# How many bulk answers a process runs at a time, in a call or in the admission queue. The rest wait in the
# database, where they delay nothing.
BULK_RUNNING_MAX = 200


class ScheduledTasks(Protocol):
    """The tasks that the heartbeat enqueues; see `chat.tasks`."""

    async def enqueue_cleanup(self) -> None: ...
    async def enqueue_webhooks(self) -> None: ...
    async def enqueue_batches(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process writes into its row."""

    id: str
    kind: Process.Kind
    url: str = ""


@dataclass(frozen=True, slots=True)
class _TickData:
    """What one tick read."""

    stop_requested: list[int]
    # Generations without an owner, except bulk.
    waiting: list[int]
    # Generations of other processes, by owner.
    owned: dict[str, list[OwnedGeneration]]
    others: dict[str, ProcessState]
    overrides: list[BreakerOverride]


class Heartbeat:
    """The heartbeat of one process."""

    def __init__(
        self,
        identity: Identity,
        *,
        writer: Writer,
        read: DatabaseReader,
        runner: GenerationRunner,
        connections: Connections,
        session_expiry: SessionExpiry,
        notifications: Notifications,
        scheduled: ScheduledTasks | None,
        dead_after_s: float,
        is_alone: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`scheduled`: None in a process that neither cleans up nor delivers webhooks.

        `is_alone`: no other server can live; see `TakeoverWatch`.
        """
        self.status: dict[str, Any] = {}
        self._identity = identity
        self._writer = writer
        self._read = read
        self._runner = runner
        self._connections = connections
        self._session_expiry = session_expiry
        self._notifications = notifications
        self._scheduled = scheduled
        self._clock = clock
        self._takeover = TakeoverWatch(dead_after_s, is_alone, clock)
        # Set when there is something to do before the next tick.
        self._wakeup = asyncio.Event()
        self._last_tick_s: float | None = None
        self._last_poll_at = timezone.now()
        self._counter = 0
        self._loop_task: asyncio.Task[None] | None = None
        self._bulk: set[asyncio.Task[None]] = set()
        # Override -> the revision that was applied here.
        self._applied: dict[int, int] = {}

    # -- the loop -----------------------------------------------------------------------------------

    async def start(self, background: BackgroundTasks) -> None:
        """Register this process, take over what a dead predecessor left, and start to tick.

        When this returns, no other process takes what this one claims for a dead process's.
        """
        await self.tick()
        self._loop_task = background.start(self.run(), "heartbeat")

    def wake(self) -> None:
        """Tick now: there is something to pick up. On the event loop."""
        self._wakeup.set()

    async def run(self) -> None:
        """Tick every second until cancelled. A tick that fails or hangs does not end the loop."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wakeup.wait()
            self._wakeup.clear()
            try:
                async with asyncio.timeout(TICK_TIMEOUT_S):
                    await self.tick()
            except TimeoutError:
                logger.error("a tick took longer than %g s and was abandoned", TICK_TIMEOUT_S)
            except Exception:
                logger.exception("a tick failed; the next one follows")

    async def stop(self) -> None:
        """Stop ticking and delete this process's row: what it still owned is free at once."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.wait({self._loop_task})
        await self._writer.arun(lambda: Process.objects.filter(pk=self._identity.id).delete())

    def problem(self) -> str | None:
        """Return what is wrong with the heartbeat, or None."""
        if self._last_tick_s is None:
            return "not started; this process answers no questions"
        late_s = self._clock() - self._last_tick_s
        return None if late_s < LATE_S else f"the last tick was {late_s:.0f} s ago"

    # -- one tick -----------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Run one tick."""
        sockets = len(self._connections.sockets)
        self.status = {"sockets": sockets, **operator.status(self._runner)}
        data = await self._writer.arun(self._exchange)
        self._last_tick_s = self._clock()
        # First: a generation that is picked up below must see the overrides.
        operator.apply_overrides(self._runner.upstream_state, data.overrides, self._applied)
        for generation_id in data.stop_requested:
            self._runner.stop(generation_id)
        await self._session_expiry.close_ended()
        if self._runner.has_drained:
            self._connections.close_streams("restarting")
        await self._poll_changes(data)
        dead = self._takeover.dead(data.owned, data.others)
        living = {pk: state.kind for pk, state in data.others.items() if pk not in dead}
        living[self._identity.id] = self._identity.kind
        self._runner.upstream_state.set_process_count(len(living))
        if self._identity.kind != Process.Kind.COMMAND and not self._runner.is_draining:
            await self._pick_up(data, dead, takes_bulk=bulk_kind(living) == self._identity.kind)
        await self._enqueue_for_all(living)

    async def _pick_up(self, data: _TickData, dead: list[str], *, takes_bulk: bool) -> None:
        """Run what waits and what dead processes owned, as far as it suits this kind of process."""
        is_server = self._identity.kind == Process.Kind.SERVER
        if is_server:
            for generation_id in data.waiting:
                self._runner.start(generation_id)
        for owner in dead:
            orphaned = [
                each for each in data.owned.get(owner, ()) if (takes_bulk if each.is_bulk else is_server)
            ]
            logger.info("process %s is dead; taking over %d answers", owner[:8], len(orphaned))
            for each in orphaned:
                self._start(each.id, from_owner=owner, is_bulk=each.is_bulk)
        if takes_bulk and (room := BULK_RUNNING_MAX - len(self._bulk)) > 0:
            without_room = frozenset(self._runner.without_room)
            if self._counter % FORGET_EVERY_TICKS == 0:  # other processes may have released something
                self._runner.without_room.clear()
            for generation_id in await self._read(lambda: Generation.waiting_bulk(room, without_room)):
                self._start(generation_id, is_bulk=True)
        if dead:
            await self._writer.arun(lambda: Process.objects.filter(pk__in=dead).delete())
        if is_server and self._scheduled and await self._read(Webhook.objects.due().exists):
            await self._scheduled.enqueue_webhooks()

    def _start(self, generation_id: int, *, from_owner: str = "", is_bulk: bool) -> None:
        task = self._runner.start(generation_id, from_owner=from_owner)
        if is_bulk and task is not None:
            self._bulk.add(task)
            task.add_done_callback(self._bulk.discard)

    async def _enqueue_for_all(self, living: dict[str, str]) -> None:
        """Enqueue what one process does for all: the cleanup, and the batches that are due."""
        if self._scheduled is None or cleanup_process(living) != self._identity.id:
            return
        if self._counter % CLEANUP_EVERY_TICKS == 2:  # not in the first tick: the server is starting
            await self._scheduled.enqueue_cleanup()
        if await self._read(_has_batch_work):
            await self._scheduled.enqueue_batches()

    async def _poll_changes(self, data: _TickData) -> None:
        """While no notices come from other processes, read from the database what they would say."""
        users = self._notifications.subscribers()
        now = timezone.now()
        if self._notifications.problem and users and data.others:
            since = self._last_poll_at
            for notice in await self._read(lambda: changes_since(users, since)):
                self._notifications.deliver(notice)
        self._last_poll_at = now

    def _exchange(self) -> _TickData:
        """Increment the counter and read what concerns this process; runs in the writer."""
        self._write_row()
        presence.refresh()
        title_writers.refresh()
        # A disabled user's answers stop. The row says so, or another process would recover them.
        Generation.objects.active().filter(user__is_active=False, stop_requested_at=None).request_stop()
        owned: dict[str, list[OwnedGeneration]] = {}
        waiting, stop_requested = [], []
        active = Generation.objects.active().unless_waiting_bulk()
        rows = active.order_by().values_list("pk", "owner", "source", "stop_requested_at")
        # Claimed in the order in which a writer locks rows: a process that wakes up causes no deadlock.
        # Sorted here, because SQLite would walk through all generations to get this order.
        for pk, owner, source, stop_requested_at in sorted(rows):
            if owner == self._identity.id:
                if stop_requested_at is not None:
                    stop_requested.append(pk)
            elif owner:
                is_bulk = source == Generation.Source.BATCH
                owned.setdefault(owner, []).append(OwnedGeneration(pk, is_bulk))
            else:
                waiting.append(pk)
        others = Process.objects.exclude(pk=self._identity.id).values_list("pk", "kind", "counter")
        states = {pk: ProcessState(kind, counter) for pk, kind, counter in others}
        return _TickData(stop_requested, waiting, owned, states, list(BreakerOverride.objects.all()))

    def _write_row(self) -> None:
        self._counter += 1
        own_row = Process.objects.filter(pk=self._identity.id)
        if not own_row.update(counter=self._counter, seen_at=timezone.now(), status=self.status):
            Process.objects.create(
                id=self._identity.id,
                kind=self._identity.kind,
                host=platform.node()[:200],
                pid=os.getpid(),
                url=self._identity.url,
                version=chat.__version__,
                counter=self._counter,
                status=self.status,
            )


def _has_batch_work() -> bool:
    """Whether a batch is due, or an answer that waits in one is to be stopped."""
    waiting = Generation.objects.active().at_provider()
    return Batch.objects.due().exists() or waiting.filter(stop_requested_at__isnull=False).exists()
