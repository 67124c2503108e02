"""The one-second tick of a process that runs answers: a server, a worker, a command.

Driven by the event loop, so that a loop that hangs loses its claim. Each tick moves this process's
counter, writes down what operators see of it and obeys what they say, reads who wants what stopped,
takes up answers that wait or whose process died, and closes the sockets of sessions that ended. Now and
then it sends a sweep on its way. No stored time decides who owns an answer: a process is dead when its
counter stood still on the observer's own clock.

Servers take up what people and programs asked for. Bulk is the workers', and the servers' while no
worker lives. A command runs its own answer and takes up nobody's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connection
from django.utils import timezone

from chat.event_log import log as delta_log
from chat.generation import runner as generations
from chat.models.api_key import ApiKey
from chat.models.generation import Generation
from chat.models.process import PROCESS_ID, BreakerOverride, Process
from chat.models.sign_in import valid_sessions
from chat.runtime import cleanup as sweeps
from chat.runtime import operator as operations
from chat.webhooks import delivery as webhooks

logger = logging.getLogger(__name__)

TICK_S = 1.0
# A tick that is this late means the loop or the database is stuck.
LATE_S = 5.0
SWEEP_EVERY_TICKS = 30


@dataclass(eq=False, slots=True)
class OpenSocket:
    """A socket whose session is looked at each second; `close` is called when it has ended."""

    user_id: int
    session_key: str
    close: Callable[[], Awaitable[None]]


@dataclass(eq=False, slots=True)
class OpenStream:
    """A stream of events to a program. `close` is called, on the loop, with the code of why it must end."""

    api_key_id: int
    close: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this process can serve, and what each check says: `ok` or a sentence.

    `status`: what its row says, as of the last tick; empty before the first.
    """

    is_ready: bool
    checks: dict[str, str]
    status: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Owned:
    """A generation that another process owns."""

    id: int
    is_bulk: bool


@dataclass(frozen=True, slots=True)
class _Beat:
    """What one tick read."""

    to_stop: list[int]
    # Answers that nobody runs, without bulk.
    waiting: list[int]
    # Answers of processes that may be dead.
    owned: dict[str, list[_Owned]]
    # Other processes: id -> what they are, and their counter.
    processes: dict[str, tuple[str, int]]
    overrides: list[BreakerOverride]


open_sockets: set[OpenSocket] = set()
open_streams: set[OpenStream] = set()


@dataclass(slots=True)
class _Heart:
    url: str
    kind: str = Process.Kind.SERVER
    task: asyncio.Task[None] | None = None
    # There is something that need not wait for the next tick.
    news: asyncio.Event = field(default_factory=asyncio.Event)
    last_beat_s: float = 0.0
    counter: int = 0
    # Owner -> its counter and when, by our clock, it was first seen there.
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    adopting: set[asyncio.Task[None]] = field(default_factory=set)
    # Those of them that are bulk.
    bulk: set[asyncio.Task[None]] = field(default_factory=set)
    is_sweeper: bool = True
    status: dict[str, Any] = field(default_factory=dict)
    # Override -> the revision that was applied here.
    obeyed: dict[int, int] = field(default_factory=dict)


_heart: _Heart | None = None


async def start(*, url: str = "", kind: Process.Kind = Process.Kind.SERVER) -> None:
    """Make this process known, take over what a dead predecessor left, and begin to tick.

    `kind` decides what it takes up: see above. When this returns, no other process takes what this one
    claims for that of a dead one.
    """
    global _heart
    _heart = _Heart(url, kind)
    await _tick(_heart)
    _heart.task = asyncio.create_task(_beat_for_ever(_heart), name="heartbeat")


async def stop() -> None:
    """Stop ticking and sign this process off."""
    global _heart
    heart, _heart = _heart, None
    if heart is None:
        return
    if heart.task is not None:
        heart.task.cancel()
    for task in heart.adopting:
        task.cancel()
    await delta_log.awrite(lambda: Process.objects.filter(pk=PROCESS_ID).delete())


def look() -> None:
    """Tick now: there is something to take up. On the event loop."""
    if _heart is not None:
        _heart.news.set()


def readiness() -> Readiness:
    """Check the database, the writer and the tick. Sync; makes one small query."""
    checks = {"database": _database(), "writer": delta_log.trouble() or "ok", "heartbeat": _pulse()}
    is_ready = all(word == "ok" for word in checks.values())
    if (shared := generations.ladder().shared) is not None:
        checks["redis"] = shared.problem or "ok"  # answers are given without it, too
    status = _heart.status if _heart is not None else {}
    return Readiness(is_ready, checks, status)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception as exc:  # noqa: BLE001 - any failure means the same here
        return f"does not answer ({type(exc).__name__})"
    return "ok"


def _pulse() -> str:
    if _heart is None:
        return "not started; this process answers no questions"
    late_s = time.monotonic() - _heart.last_beat_s
    return "ok" if late_s < LATE_S else f"the last tick was {late_s:.0f} s ago"


async def _beat_for_ever(heart: _Heart) -> None:
    ticks = 0
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await heart.news.wait()
        heart.news.clear()
        ticks += 1
        try:
            await _tick(heart)
            if ticks % SWEEP_EVERY_TICKS == 1 and heart.is_sweeper:
                await sweeps.sweep.aenqueue()
        except Exception:
            logger.exception("a tick failed; the next one follows")


async def _tick(heart: _Heart) -> None:
    heart.status = {"sockets": len(open_sockets), **operations.status()}
    beat = await delta_log.awrite(partial(_beat, heart))
    heart.last_beat_s = time.monotonic()
    # First of all: an answer that is taken up below goes by the overrides.
    operations.obey(beat.overrides, heart.obeyed)
    for generation_id in beat.to_stop:
        generations.stop_here(generation_id)
    await _close_ended_sessions()
    await _close_ended_streams()
    dead = _dead(heart, beat)
    living = {pk: kind for pk, (kind, _counter) in beat.processes.items() if pk not in dead}
    living[PROCESS_ID] = heart.kind
    generations.ladder().set_process_count(len(living))
    heart.is_sweeper = _sweeper(living) == PROCESS_ID
    if heart.kind != Process.Kind.COMMAND and not generations.is_draining():
        await _take_up(heart, beat, dead, takes_bulk=_bulk_is_for(living) == heart.kind)


def _bulk_is_for(living: dict[str, str]) -> Process.Kind:
    """Say which kind of process takes up bulk and sweeps."""
    return Process.Kind.WORKER if Process.Kind.WORKER in living.values() else Process.Kind.SERVER


def _sweeper(living: dict[str, str]) -> str | None:
    """Return the one process that sweeps for all."""
    kind = _bulk_is_for(living)
    return min((pk for pk, each in living.items() if each == kind), default=None)


async def _take_up(heart: _Heart, beat: _Beat, dead: list[str], *, takes_bulk: bool) -> None:
    """Run what waits and what belonged to the dead, as far as it is for this kind of process."""
    is_server = heart.kind == Process.Kind.SERVER
    if is_server:
        if await database_sync_to_async(webhooks.are_due)():
            await webhooks.deliver_due.aenqueue()
        for generation_id in beat.waiting:
            _adopt(heart, generation_id, "")
    for owner in dead:
        orphans = [each for each in beat.owned.get(owner, ()) if (takes_bulk if each.is_bulk else is_server)]
        logger.info("process %s is gone; taking over %d answers", owner[:8], len(orphans))
        for orphan in orphans:
            _adopt(heart, orphan.id, owner, is_bulk=orphan.is_bulk)
    if takes_bulk and (room := settings.BULK_RUNNING_MAX - len(heart.bulk)) > 0:
        for generation_id in await database_sync_to_async(Generation.waiting_bulk)(room):
            _adopt(heart, generation_id, "", is_bulk=True)
    if dead:
        await delta_log.awrite(lambda: Process.objects.filter(pk__in=dead).delete())


def _beat(heart: _Heart) -> _Beat:
    """Move the counter and read what concerns this process; runs in the writer."""
    heart.counter += 1
    now = timezone.now()
    mine = Process.objects.filter(pk=PROCESS_ID)
    if not mine.update(counter=heart.counter, seen_at=now, status=heart.status):
        Process.objects.create(
            id=PROCESS_ID,
            kind=heart.kind,
            host=platform.node()[:200],
            pid=os.getpid(),
            url=heart.url,
            counter=heart.counter,
            status=heart.status,
        )
    owned: dict[str, list[_Owned]] = {}
    waiting, to_stop = [], []
    # Who was disabled asks for nothing any more; the row says so, lest it is recovered elsewhere.
    Generation.objects.active().filter(user__is_active=False, stop_requested_at=None).request_stop()
    # Of bulk that waits there may be very much.
    active = Generation.objects.active().exclude(owner="", source=Generation.Source.BATCH)
    # Claimed in the order in which a writer locks them: one that wakes up meanwhile makes no deadlock.
    for pk, owner, source, stop_requested_at in active.order_by("pk").values_list(
        "pk", "owner", "source", "stop_requested_at"
    ):
        if owner == PROCESS_ID:
            if stop_requested_at is not None:
                to_stop.append(pk)
        elif owner:
            owned.setdefault(owner, []).append(_Owned(pk, source == Generation.Source.BATCH))
        else:
            waiting.append(pk)
    others = Process.objects.exclude(pk=PROCESS_ID).values_list("pk", "kind", "counter")
    processes = {pk: (kind, counter) for pk, kind, counter in others}
    return _Beat(to_stop, waiting, owned, processes, list(BreakerOverride.objects.all()))


def is_alone() -> bool:
    """Say whether there can be no other server: on SQLite, our lock beside it proves the last one dead."""
    return connection.vendor == "sqlite"


def _dead(heart: _Heart, beat: _Beat) -> list[str]:
    """Return the processes that are dead by our clock."""
    now = time.monotonic()
    dead = []
    is_first_server = heart.counter == 1 and heart.kind == Process.Kind.SERVER and is_alone()
    for owner in {*beat.owned, *beat.processes}:
        kind, counter = beat.processes.get(owner, (Process.Kind.SERVER, -1))
        seen_counter, since = heart.seen.get(owner, (None, now))
        if counter != seen_counter:
            heart.seen[owner] = (counter, now)
            since = now
        is_proved_dead = is_first_server and kind == Process.Kind.SERVER
        if is_proved_dead or counter == -1 or now - since > settings.PROCESS_DEAD_AFTER_S:
            dead.append(owner)
            heart.seen.pop(owner, None)
    return dead


def _adopt(heart: _Heart, generation_id: int, from_owner: str, *, is_bulk: bool = False) -> None:
    """Run an answer that waits for anybody, or whose process is dead."""
    task = asyncio.create_task(
        generations.run(generation_id, from_owner=from_owner), name=f"generation {generation_id}"
    )
    heart.adopting.add(task)
    task.add_done_callback(heart.adopting.discard)
    if is_bulk:
        heart.bulk.add(task)
        task.add_done_callback(heart.bulk.discard)
    task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s failed", task.get_name(), exc_info=task.exception())


async def _close_ended_sessions() -> None:
    sockets = list(open_sockets)
    if not sockets:
        return
    pairs = {(socket.session_key, socket.user_id) for socket in sockets}
    valid = await database_sync_to_async(valid_sessions)(pairs)
    for socket in sockets:
        if (socket.session_key, socket.user_id) not in valid:
            open_sockets.discard(socket)
            await socket.close()


async def _close_ended_streams() -> None:
    """Close the streams of keys that are not in force any more; all, once a drain has let go of answers."""
    streams = list(open_streams)
    if not streams:
        return
    if generations.has_drained():
        for stream in streams:
            stream.close("restarting")
        return
    valid = await database_sync_to_async(_valid_keys)({stream.api_key_id for stream in streams})
    for stream in streams:
        if stream.api_key_id not in valid:
            stream.close("invalid_api_key")


def _valid_keys(ids: set[int]) -> set[int]:
    return set(ApiKey.objects.valid().filter(pk__in=ids).values_list("pk", flat=True))
