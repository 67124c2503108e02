"""The tick: who is alive, what is taken over, and when this process says that it is ready."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat import delta_log, generations, heartbeat
from chat.models import Conversation, Generation, LoggedEvent, Message, Process
from chat.models.process import PROCESS_ID
from tests.test_writer import running_generation

pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(heartbeat.time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def taken_over(monkeypatch):
    """Collect what would be run, as (generation id, from owner)."""
    found = []

    async def run(generation_id, *, from_owner=""):
        found.append((generation_id, from_owner))

    monkeypatch.setattr(generations, "run", run)
    return found


@pytest.fixture
def many_processes(monkeypatch):
    """Behave as beside a database that several processes share."""
    monkeypatch.setattr(heartbeat, "is_alone", lambda: False)


async def tick(heart):
    await heartbeat._tick(heart)
    await asyncio.gather(*heart.adopting)


def owned_by(user, model, owner, **fields):
    generation = running_generation(user, model, owner=owner)
    Generation.objects.filter(pk=generation.pk).update(**fields)
    return generation


async def test_the_counter_of_this_process_moves(db):
    heart = heartbeat._Heart("http://here")
    for _n in range(3):
        await tick(heart)
    row = await Process.objects.aget(pk=PROCESS_ID)
    assert (row.counter, row.url) == (3, "http://here")


async def test_a_queued_answer_that_nobody_runs_is_taken_up(user, model, taken_over):
    waiting = await sync_to_async(owned_by)(user, model, "", status="queued")
    await tick(heartbeat._Heart(""))
    assert taken_over == [(waiting.pk, "")]


async def test_the_answers_of_a_process_are_taken_over_when_its_counter_stood_still(
    user, model, taken_over, clock, many_processes, settings
):
    settings.PROCESS_DEAD_AFTER_S = 10
    orphan = await sync_to_async(owned_by)(user, model, "other")
    await Process.objects.acreate(id="other", host="h", pid=1, counter=5)
    heart = heartbeat._Heart("")

    await tick(heart)
    clock.now += 9
    await Process.objects.filter(pk="other").aupdate(counter=6)
    await tick(heart)
    clock.now += 9
    await tick(heart)
    assert taken_over == []

    clock.now += 2
    await tick(heart)
    assert taken_over == [(orphan.pk, "other")]
    assert not await Process.objects.filter(pk="other").aexists()


async def test_a_wrong_clock_elsewhere_kills_nobody(user, model, taken_over, clock, many_processes):
    await sync_to_async(owned_by)(user, model, "other")
    long_ago = timezone.now() - timedelta(days=400)
    await Process.objects.acreate(id="other", host="h", pid=1, counter=5, seen_at=long_ago)
    await tick(heartbeat._Heart(""))
    assert taken_over == []


async def test_on_a_database_of_our_own_a_predecessors_answers_are_taken_over_at_once(
    user, model, taken_over, monkeypatch
):
    monkeypatch.setattr(heartbeat, "is_alone", lambda: True)
    orphan = await sync_to_async(owned_by)(user, model, "before")
    await Process.objects.acreate(id="before", host="h", pid=1, counter=5)
    await tick(heartbeat._Heart(""))
    assert taken_over == [(orphan.pk, "before")]


async def test_final_answers_are_left_alone(user, model, taken_over):
    await sync_to_async(owned_by)(user, model, "gone", status="completed")
    await tick(heartbeat._Heart(""))
    assert taken_over == []


async def test_a_stop_that_was_asked_for_elsewhere_is_carried_out_here(user, model, monkeypatch):
    stopped = []
    monkeypatch.setattr(generations, "stop_here", stopped.append)
    asked = await sync_to_async(owned_by)(user, model, PROCESS_ID, stop_requested_at=timezone.now())
    await sync_to_async(owned_by)(user, model, PROCESS_ID)
    await tick(heartbeat._Heart(""))
    assert stopped == [asked.pk]


@pytest.mark.django_db(transaction=True)
def test_ready_means_database_writer_and_tick(clock):
    assert not heartbeat.readiness().is_ready

    async def live():
        delta_log.open_writer()
        await heartbeat.start(url="")
        ready = await sync_to_async(heartbeat.readiness)()
        clock.now += 60
        late = await sync_to_async(heartbeat.readiness)()
        await heartbeat.stop()
        return ready, late

    try:
        ready, late = asyncio.run(live())
    finally:
        delta_log.close_writer()
    assert ready.is_ready
    assert set(ready.checks.values()) == {"ok"}
    assert not late.is_ready
    assert "60 s ago" in late.checks["heartbeat"]


async def test_sweeps_take_what_is_old_and_nothing_else(user, model):
    def arrange():
        old = owned_by(user, model, "", status="completed", finished_at=timezone.now() - timedelta(hours=1))
        new = owned_by(user, model, "", status="completed", finished_at=timezone.now())
        for generation in (old, new):
            LoggedEvent.objects.create(generation_id=generation.pk, seq=1, payload="{}")
        gone = old.message.conversation
        Message.objects.create(conversation=gone, role="user", parent=old.message)
        Conversation.objects.filter(pk=gone.pk).update(deleted_at=timezone.now() - timedelta(days=2))
        kept = new.message.conversation
        Conversation.objects.filter(pk=kept.pk).update(deleted_at=timezone.now())
        for name, age in (("ended", 1), ("fresh", -1)):
            expires = timezone.now() - timedelta(days=age)
            Session.objects.create(session_key=name, session_data="", expire_date=expires)
        return kept, new

    kept, new = await sync_to_async(arrange)()
    await heartbeat._sweep()

    assert {row.generation_id async for row in LoggedEvent.objects.all()} == {new.pk}
    assert {row.pk async for row in Conversation.objects.all()} == {kept.pk}
    assert {row.pk async for row in Session.objects.all()} == {"fresh"}


async def test_a_tick_that_fails_is_followed_by_the_next(monkeypatch):
    ticks = []
    three = asyncio.Event()

    async def fail(heart):
        ticks.append(heart)
        if len(ticks) == 3:
            three.set()
        raise ZeroDivisionError

    monkeypatch.setattr(heartbeat, "_tick", fail)
    monkeypatch.setattr(heartbeat, "_sweep", lambda: asyncio.sleep(0))
    monkeypatch.setattr(heartbeat, "TICK_S", 0)
    beating = asyncio.create_task(heartbeat._beat_for_ever(heartbeat._Heart("")))
    await three.wait()
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
