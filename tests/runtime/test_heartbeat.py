"""The tick: who is alive, what is taken over, and when this process says that it is ready."""

import asyncio
import contextlib
import types
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat.event_log import log as delta_log
from chat.generation import runner as generations
from chat.generation.run import Running
from chat.models import BreakerOverride, Generation, Process
from chat.models.process import PROCESS_ID
from chat.runtime import heartbeat
from chat.upstream import Target
from tests.event_log.test_writer import running_generation

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


@pytest.mark.parametrize("kind", [Process.Kind.WORKER, Process.Kind.COMMAND])
async def test_the_lock_beside_the_database_proves_nothing_about_workers_and_commands(
    user, model, taken_over, clock, monkeypatch, kind
):
    monkeypatch.setattr(heartbeat, "is_alone", lambda: True)
    orphan = await sync_to_async(owned_by)(user, model, "other")
    await Process.objects.acreate(id="other", kind=kind, host="h", pid=1, counter=5)
    heart = heartbeat._Heart("")
    await tick(heart)
    assert taken_over == []

    clock.now += 11
    await tick(heart)
    assert taken_over == [(orphan.pk, "other")]


@pytest.mark.parametrize("kind", [Process.Kind.WORKER, Process.Kind.COMMAND])
async def test_neither_a_worker_nor_a_command_takes_the_server_beside_it_for_dead(
    user, model, taken_over, monkeypatch, kind
):
    monkeypatch.setattr(heartbeat, "is_alone", lambda: True)
    await sync_to_async(owned_by)(user, model, "server", source="batch")
    await Process.objects.acreate(id="server", host="h", pid=1, counter=5)
    await tick(heartbeat._Heart("", kind))
    assert taken_over == []
    assert await Process.objects.filter(pk="server").aexists()


WAITING, ORPHAN, WAITING_BULK, BULK_ORPHAN = "waiting", "orphan", "waiting bulk", "bulk orphan"


@pytest.mark.parametrize(
    ("kind", "has_worker", "expected"),
    [
        (Process.Kind.SERVER, False, {WAITING, ORPHAN, WAITING_BULK, BULK_ORPHAN}),
        (Process.Kind.SERVER, True, {WAITING, ORPHAN}),
        (Process.Kind.WORKER, False, {WAITING_BULK, BULK_ORPHAN}),
        (Process.Kind.WORKER, True, {WAITING_BULK, BULK_ORPHAN}),
        (Process.Kind.COMMAND, False, set()),
    ],
)
async def test_each_kind_of_process_takes_up_what_is_for_it(
    user, model, taken_over, many_processes, kind, has_worker, expected
):
    def arrange():
        if has_worker:
            Process.objects.create(id="alive", kind=Process.Kind.WORKER, host="h", pid=1)
        return {
            WAITING: owned_by(user, model, "", status="queued").pk,
            ORPHAN: owned_by(user, model, "gone", source="api").pk,
            WAITING_BULK: owned_by(user, model, "", status="queued", source="batch").pk,
            BULK_ORPHAN: owned_by(user, model, "gone", source="batch").pk,
        }

    made = await sync_to_async(arrange)()
    await tick(heartbeat._Heart("", kind))
    names = {pk: name for name, pk in made.items()}
    assert {names[pk] for pk, _from in taken_over} == expected


async def test_servers_take_up_bulk_when_the_last_worker_is_dead(
    user, model, taken_over, clock, many_processes
):
    await Process.objects.acreate(id="worker", kind=Process.Kind.WORKER, host="h", pid=1)
    orphan = await sync_to_async(owned_by)(user, model, "worker", source="batch")
    heart = heartbeat._Heart("")
    await tick(heart)
    clock.now += 11
    await tick(heart)
    assert taken_over == [(orphan.pk, "worker")]


async def test_a_process_has_so_much_bulk_in_hand_and_its_users_take_turns(
    user, other_user, model, monkeypatch, settings
):
    settings.BULK_RUNNING_MAX = 3

    def arrange():
        people = [user, user, user, user, other_user]
        return [owned_by(each, model, "", status="queued", source="batch").pk for each in people]

    first, second, third, _fourth, others = await sync_to_async(arrange)()
    begun = []
    gates = {}

    async def run(generation_id, *, from_owner=""):
        begun.append(generation_id)
        gates[generation_id] = asyncio.Event()
        await gates[generation_id].wait()

    monkeypatch.setattr(generations, "run", run)
    heart = heartbeat._Heart("")
    await heartbeat._tick(heart)
    await asyncio.sleep(0)
    assert begun == [first, others, second]

    await Generation.objects.filter(pk__in=begun).aupdate(owner=PROCESS_ID)
    await heartbeat._tick(heart)
    await asyncio.sleep(0)
    assert len(begun) == 3

    gates[first].set()
    await asyncio.wait(heart.bulk, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)
    await heartbeat._tick(heart)
    await asyncio.sleep(0)
    assert begun[3:] == [third]
    for task in heart.bulk:
        task.cancel()


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


async def test_the_answers_of_somebody_who_was_disabled_are_stopped_and_not_recovered(
    user, model, monkeypatch
):
    stopped = []
    monkeypatch.setattr(generations, "stop_here", stopped.append)
    running = await sync_to_async(owned_by)(user, model, PROCESS_ID)
    user.is_active = False
    await user.asave()
    await tick(heartbeat._Heart(""))
    assert stopped == [running.pk]
    await running.arefresh_from_db()
    assert running.stop_requested_at is not None


async def test_each_tick_writes_what_operators_see(monkeypatch):
    target = Target(base_url="http://127.0.0.1:9/v1", api_key="", model="m", endpoint="e", slots=3)
    ladder = generations.ladder()
    ladder.admission(target)
    ladder.hold_open("e", "m")
    since = timezone.now()
    running = [Running(number, "m", since) for number in range(60)]
    monkeypatch.setattr(generations, "running", lambda: running)

    await tick(heartbeat._Heart(""))

    status = (await Process.objects.aget(pk=PROCESS_ID)).status
    assert status["breakers"] == [
        {"endpoint": "e", "model": "m", "state": "open", "is_held": True, "wait_s": None, "waiting": 0}
    ]
    line = {"interactive": 0, "api": 0, "bulk": 0}
    shares = {"slots": 3, "limit": 3, "running": 0, "in_use": None, "processes": 1}
    assert status["endpoints"] == [{"endpoint": "e", **shares, "waiting": line, "paused_s": 0.0}]
    assert (status["running"], len(status["generations"]), status["sockets"]) == (60, 50, 0)
    assert status["generations"][0] == {"id": 0, "model": "m", "since": since.isoformat("T", "seconds")}


async def test_slots_are_divided_by_the_processes_that_live(clock, many_processes):
    target = Target(base_url="http://127.0.0.1:9/v1", api_key="", model="m", endpoint="e", slots=32)
    admission = generations.ladder().admission(target)
    for name in ("one", "two"):
        await Process.objects.acreate(id=name, host="h", pid=1)
    heart = heartbeat._Heart("")
    await tick(heart)
    assert (admission.limit, admission.processes) == (10, 3)
    clock.now += 11
    await Process.objects.filter(pk="one").aupdate(counter=1)
    await tick(heart)
    assert admission.limit == 16


async def test_without_redis_a_process_is_ready_and_says_what_is_wrong(monkeypatch):
    class Shared:
        problem = "does not answer"

    monkeypatch.setattr(generations.ladder(), "shared", Shared())
    monkeypatch.setattr(delta_log, "trouble", lambda: None)
    monkeypatch.setattr(heartbeat, "_pulse", lambda: "ok")
    readiness = await sync_to_async(heartbeat.readiness)()
    assert readiness.is_ready
    assert readiness.checks["redis"] == "does not answer"


def states():
    return {(each.endpoint, each.model): each.state for each in generations.ladder().breakers()}


async def test_what_an_operator_says_elsewhere_is_obeyed_within_a_tick(staff):
    heart = heartbeat._Heart("")
    await tick(heart)
    await sync_to_async(BreakerOverride.hold_open)("e", "m", by=staff)
    await tick(heart)
    assert states() == {("e", "m"): "open"}

    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await tick(heart)
    assert states() == {("e", "m"): "closed"}


async def test_a_process_that_starts_later_holds_open_what_is_held_before_it_takes_up_an_answer(
    staff, user, model, monkeypatch
):
    await sync_to_async(BreakerOverride.hold_open)("e", "m", by=staff)
    await sync_to_async(owned_by)(user, model, "", status="queued")
    found = []

    async def run(generation_id, *, from_owner=""):
        found.append(states())

    monkeypatch.setattr(generations, "run", run)
    await tick(heartbeat._Heart(""))
    assert found == [{("e", "m"): "open"}]


async def test_a_close_opens_the_way_once_and_leaves_the_breaker_to_itself(staff):
    heart = heartbeat._Heart("")
    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await tick(heart)
    generations.ladder().hold_open("e", "m")  # stands for a breaker that opens by itself
    await tick(heart)
    assert states() == {("e", "m"): "open"}

    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await tick(heart)
    assert states() == {("e", "m"): "closed"}


async def test_of_two_words_within_a_tick_the_later_one_counts(staff):
    heart = heartbeat._Heart("")
    await tick(heart)
    await sync_to_async(BreakerOverride.close)("e", "m", by=staff)
    await sync_to_async(BreakerOverride.hold_open)("e", "m", by=staff)
    await tick(heart)
    assert states() == {("e", "m"): "open"}
    assert await BreakerOverride.objects.acount() == 1


@pytest.mark.django_db(transaction=True)
def test_ready_means_database_writer_and_tick(clock):
    assert not heartbeat.readiness().is_ready

    async def live():
        delta_log.open_writer()
        await heartbeat.start(url="")
        ready = await sync_to_async(heartbeat.readiness)()
        heartbeat._heart.task.cancel()  # no tick between here and the look
        clock.now += 60
        late = await sync_to_async(heartbeat.readiness)()
        await heartbeat.stop()
        return ready, late

    try:
        ready, late = asyncio.run(live())
    finally:
        delta_log.close_writer()
    assert ready.is_ready
    assert ready.status["breakers"] == []
    assert set(ready.checks.values()) == {"ok"}
    assert not late.is_ready
    assert "60 s ago" in late.checks["heartbeat"]


@pytest.mark.parametrize(
    ("kind", "others", "is_sweeper"),
    [
        (Process.Kind.SERVER, {}, True),
        (Process.Kind.SERVER, {"0": "server"}, False),
        (Process.Kind.SERVER, {"z": "server", "0": "command"}, True),
        (Process.Kind.SERVER, {"z": "worker"}, False),
        (Process.Kind.WORKER, {"0": "server"}, True),
        (Process.Kind.COMMAND, {}, False),
    ],
)
async def test_one_process_of_all_sweeps(many_processes, kind, others, is_sweeper):
    for name, each in others.items():
        await Process.objects.acreate(id=name, kind=each, host="h", pid=1)
    heart = heartbeat._Heart("", kind)
    await tick(heart)
    assert heart.is_sweeper == is_sweeper


async def test_a_sweep_that_cannot_be_sent_on_its_way_does_not_stop_the_heart(monkeypatch):
    ticks = []
    three = asyncio.Event()

    async def count(heart):
        ticks.append(heart)
        if len(ticks) == 3:
            three.set()

    async def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(heartbeat, "_tick", count)
    monkeypatch.setattr(heartbeat.sweeps, "sweep", types.SimpleNamespace(aenqueue=fail))
    monkeypatch.setattr(heartbeat, "TICK_S", 0)
    beating = asyncio.create_task(heartbeat._beat_for_ever(heartbeat._Heart("")))
    waiting = asyncio.create_task(three.wait())
    await asyncio.wait({beating, waiting}, return_when=asyncio.FIRST_COMPLETED)
    is_beating = not beating.done()
    for task in (beating, waiting):
        task.cancel()
    await asyncio.gather(beating, waiting, return_exceptions=True)
    assert is_beating


async def test_a_tick_that_fails_is_followed_by_the_next(monkeypatch):
    ticks = []
    three = asyncio.Event()

    async def fail(heart):
        ticks.append(heart)
        if len(ticks) == 3:
            three.set()
        raise ZeroDivisionError

    monkeypatch.setattr(heartbeat, "_tick", fail)
    sweep = types.SimpleNamespace(aenqueue=lambda: asyncio.sleep(0))
    monkeypatch.setattr(heartbeat.sweeps, "sweep", sweep)
    monkeypatch.setattr(heartbeat, "TICK_S", 0)
    beating = asyncio.create_task(heartbeat._beat_for_ever(heartbeat._Heart("")))
    await three.wait()
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
