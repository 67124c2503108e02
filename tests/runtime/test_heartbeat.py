"""The heartbeat: its loop, what a tick writes and reads, and operators' overrides."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

import chat
from chat.background import BackgroundTasks
from chat.generation.attempts import RunningGeneration
from chat.models import BreakerOverride, Generation, Process
from chat.runtime import heartbeat as heartbeat_module
from chat.upstream import Target
from tests.support.runtime import new_runtime, owned_by

pytestmark = pytest.mark.django_db


@pytest.fixture
def runtime(db):
    return new_runtime(url="http://here")


async def test_each_tick_increments_the_counter_of_this_process(runtime):
    for _n in range(3):
        await runtime.heartbeat.tick()
    row = await Process.objects.aget(pk=runtime.id)
    assert (row.counter, row.url, row.version) == (3, "http://here", chat.__version__)


async def test_a_stop_that_was_requested_elsewhere_is_carried_out_here(user, model, runtime, monkeypatch):
    stopped = []
    monkeypatch.setattr(runtime.runner, "stop", stopped.append)
    asked = await sync_to_async(owned_by)(user, model, runtime.id, stop_requested_at=timezone.now())
    await sync_to_async(owned_by)(user, model, runtime.id)
    await runtime.heartbeat.tick()
    assert stopped == [asked.pk]


async def test_the_answers_of_a_disabled_user_are_stopped_and_not_recovered(
    user, model, runtime, monkeypatch
):
    stopped = []
    monkeypatch.setattr(runtime.runner, "stop", stopped.append)
    running = await sync_to_async(owned_by)(user, model, runtime.id)
    user.is_active = False
    await user.asave()
    await runtime.heartbeat.tick()
    assert stopped == [running.pk]
    await running.arefresh_from_db()
    assert running.stop_requested_at is not None


async def test_each_tick_writes_what_operators_see(runtime, monkeypatch):
    target = Target(base_url="http://127.0.0.1:9/v1", api_key="", model="m", endpoint="e", slots=3)
    runtime.upstream_state.admission(target)
    runtime.upstream_state.hold_open("e", "m")
    since = timezone.now()
    running = [RunningGeneration(number, "m", since) for number in range(60)]
    monkeypatch.setattr(runtime.runner, "running", lambda: running)

    await runtime.heartbeat.tick()

    status = (await Process.objects.aget(pk=runtime.id)).status
    assert status["breakers"] == [
        {"endpoint": "e", "model": "m", "state": "open", "is_held": True, "wait_s": None, "waiting": 0}
    ]
    queue = {"interactive": 0, "api": 0, "bulk": 0}
    shares = {"slots": 3, "limit": 3, "running": 0, "in_use": None, "processes": 1}
    assert status["endpoints"] == [{"endpoint": "e", **shares, "waiting": queue, "paused_s": 0.0}]
    assert (status["running"], len(status["generations"]), status["sockets"]) == (60, 50, 0)
    assert status["generations"][0] == {"id": 0, "model": "m", "since": since.isoformat("T", "seconds")}


# -- operators' overrides ----------------------------------------------------------------------------


def states(runtime):
    return {(each.endpoint, each.model): each.state for each in runtime.upstream_state.breakers()}


async def test_an_override_is_applied_within_a_tick(staff, runtime):
    await runtime.heartbeat.tick()
    await sync_to_async(BreakerOverride.hold_open)("e", "m", by=staff)
    await runtime.heartbeat.tick()
    assert states(runtime) == {("e", "m"): "open"}

    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await runtime.heartbeat.tick()
    assert states(runtime) == {("e", "m"): "closed"}


async def test_a_process_that_starts_later_holds_open_what_is_held_before_it_picks_up_an_answer(
    staff, user, model, runtime, monkeypatch
):
    await sync_to_async(BreakerOverride.hold_open)("e", "m", by=staff)
    await sync_to_async(owned_by)(user, model, "", status="queued")
    found = []
    monkeypatch.setattr(runtime.runner, "start", lambda pk, *, from_owner="": found.append(states(runtime)))
    await runtime.heartbeat.tick()
    assert found == [{("e", "m"): "open"}]


async def test_a_close_applies_once_and_leaves_the_breaker_to_itself(staff, runtime):
    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await runtime.heartbeat.tick()
    runtime.upstream_state.hold_open("e", "m")  # stands for a breaker that opens by itself
    await runtime.heartbeat.tick()
    assert states(runtime) == {("e", "m"): "open"}

    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await runtime.heartbeat.tick()
    assert states(runtime) == {("e", "m"): "closed"}


async def test_of_two_overrides_within_a_tick_the_later_one_counts(staff, runtime):
    await runtime.heartbeat.tick()
    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await sync_to_async(BreakerOverride.hold_open)("e", "m", by=staff)
    await runtime.heartbeat.tick()
    assert states(runtime) == {("e", "m"): "open"}
    assert await BreakerOverride.objects.acount() == 1


# -- the loop ----------------------------------------------------------------------------------------


async def until_third_tick(runtime, monkeypatch, tick):
    """Run the loop until it has ticked three times; return whether it was still running then."""
    ticks, three = [], asyncio.Event()

    async def count():
        ticks.append(1)
        if len(ticks) == 3:
            three.set()
        await tick()

    monkeypatch.setattr(heartbeat_module, "TICK_S", 0)
    monkeypatch.setattr(runtime.heartbeat, "tick", count)
    loop = asyncio.create_task(runtime.heartbeat.run())
    waiting = asyncio.create_task(three.wait())
    await asyncio.wait({loop, waiting}, return_when=asyncio.FIRST_COMPLETED)
    is_running = not loop.done()
    for task in (loop, waiting):
        task.cancel()
    await asyncio.gather(loop, waiting, return_exceptions=True)
    return is_running


async def test_a_tick_that_fails_is_followed_by_the_next(runtime, monkeypatch):
    async def fail():
        raise ZeroDivisionError

    assert await until_third_tick(runtime, monkeypatch, fail)


async def test_a_tick_that_hangs_is_abandoned_and_followed_by_the_next(runtime, monkeypatch):
    monkeypatch.setattr(heartbeat_module, "TICK_TIMEOUT_S", 0.01)
    assert await until_third_tick(runtime, monkeypatch, asyncio.Event().wait)


async def test_a_cleanup_that_cannot_be_enqueued_does_not_end_the_loop(monkeypatch, db):
    class Scheduled:
        async def enqueue_cleanup(self):
            raise ZeroDivisionError

        async def enqueue_webhooks(self):
            """Nothing is due in this test."""

        async def enqueue_batches(self):
            """Nor here."""

    runtime = new_runtime(scheduled=Scheduled())
    monkeypatch.setattr(heartbeat_module, "CLEANUP_EVERY_TICKS", 3)
    assert await until_third_tick(runtime, monkeypatch, runtime.heartbeat.tick)


async def test_a_wake_up_does_not_wait_for_the_next_second(runtime, monkeypatch):
    monkeypatch.setattr(heartbeat_module, "TICK_S", 3600)
    ticked = asyncio.Event()

    async def tick():
        ticked.set()

    monkeypatch.setattr(runtime.heartbeat, "tick", tick)
    background = BackgroundTasks()
    background.start(runtime.heartbeat.run(), "heartbeat")
    runtime.heartbeat.wake()
    await ticked.wait()
    await background.close()


async def test_a_process_that_stops_deletes_its_row(runtime):
    await runtime.heartbeat.tick()
    await runtime.heartbeat.stop()
    assert not await Process.objects.filter(pk=runtime.id).aexists()


async def test_bulk_is_bounded_and_users_take_turns(user, other_user, model, runtime, monkeypatch):
    monkeypatch.setattr(heartbeat_module, "BULK_RUNNING_MAX", 3)

    def arrange():
        users = [user, user, user, user, other_user]
        return [owned_by(each, model, "", status="queued", source="batch").pk for each in users]

    first, second, third, _fourth, others = await sync_to_async(arrange)()
    started, gates, tasks = [], {}, {}

    def start(generation_id, *, from_owner=""):
        started.append(generation_id)
        gates[generation_id] = asyncio.Event()
        tasks[generation_id] = asyncio.create_task(gates[generation_id].wait())
        return tasks[generation_id]

    monkeypatch.setattr(runtime.runner, "start", start)
    await runtime.heartbeat.tick()
    assert started == [first, others, second]

    await Generation.objects.filter(pk__in=started).aupdate(owner=runtime.id)
    await runtime.heartbeat.tick()
    assert len(started) == 3

    gates[first].set()
    await tasks[first]
    await asyncio.sleep(0)
    await runtime.heartbeat.tick()
    assert started[3:] == [third]
    for task in tasks.values():
        task.cancel()
