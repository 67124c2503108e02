"""Takeover: which processes are dead, and which kind of process picks up what."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat.models import Process
from chat.upstream import Target
from tests.support.runtime import new_runtime, owned_by

pytestmark = pytest.mark.django_db


class Ticker:
    """The heartbeat of a process, on a clock of its own, and the generations that it would run."""

    def __init__(self, monkeypatch, kind=Process.Kind.SERVER, *, is_alone=False, scheduled=None):
        self.now_s = 1000.0
        self.started = []
        self.runtime = new_runtime(kind, is_alone=is_alone, scheduled=scheduled, clock=lambda: self.now_s)
        monkeypatch.setattr(self.runtime.runner, "start", self._start)

    def _start(self, generation_id, *, from_owner=""):
        self.started.append((generation_id, from_owner))

    async def tick(self, after_s=0.0):
        self.now_s += after_s
        await self.runtime.heartbeat.tick()


@pytest.fixture
def ticker(monkeypatch, db):
    return Ticker(monkeypatch)


async def test_a_queued_answer_without_an_owner_is_picked_up(user, model, ticker):
    waiting = await sync_to_async(owned_by)(user, model, "", status="queued")
    await ticker.tick()
    assert ticker.started == [(waiting.pk, "")]


async def test_the_answers_of_a_process_are_taken_over_when_its_counter_stood_still(
    user, model, monkeypatch, settings
):
    settings.PROCESS_DEAD_AFTER_S = 10
    orphan = await sync_to_async(owned_by)(user, model, "other")
    await Process.objects.acreate(id="other", host="h", pid=1, counter=5)
    ticker = Ticker(monkeypatch)

    await ticker.tick()
    await Process.objects.filter(pk="other").aupdate(counter=6)
    await ticker.tick(after_s=9)
    await ticker.tick(after_s=9)
    assert ticker.started == []

    await ticker.tick(after_s=2)
    assert ticker.started == [(orphan.pk, "other")]
    assert not await Process.objects.filter(pk="other").aexists()


async def test_a_wrong_clock_elsewhere_makes_no_process_dead(user, model, ticker):
    await sync_to_async(owned_by)(user, model, "other")
    long_ago = timezone.now() - timedelta(days=400)
    await Process.objects.acreate(id="other", host="h", pid=1, counter=5, seen_at=long_ago)
    await ticker.tick()
    assert ticker.started == []


async def test_the_only_server_takes_over_its_predecessors_answers_at_once(user, model, monkeypatch):
    orphan = await sync_to_async(owned_by)(user, model, "before")
    await Process.objects.acreate(id="before", host="h", pid=1, counter=5)
    ticker = Ticker(monkeypatch, is_alone=True)
    await ticker.tick()
    assert ticker.started == [(orphan.pk, "before")]


@pytest.mark.parametrize("kind", [Process.Kind.WORKER, Process.Kind.COMMAND])
async def test_the_lock_beside_the_database_proves_nothing_about_workers_and_commands(
    user, model, monkeypatch, kind
):
    orphan = await sync_to_async(owned_by)(user, model, "other")
    await Process.objects.acreate(id="other", kind=kind, host="h", pid=1, counter=5)
    ticker = Ticker(monkeypatch, is_alone=True)
    await ticker.tick()
    assert ticker.started == []

    await ticker.tick(after_s=11)
    assert ticker.started == [(orphan.pk, "other")]


@pytest.mark.parametrize("kind", [Process.Kind.WORKER, Process.Kind.COMMAND])
async def test_neither_a_worker_nor_a_command_takes_the_server_beside_it_for_dead(
    user, model, monkeypatch, kind
):
    await sync_to_async(owned_by)(user, model, "server", source="batch")
    await Process.objects.acreate(id="server", host="h", pid=1, counter=5)
    ticker = Ticker(monkeypatch, kind, is_alone=None)
    await ticker.tick()
    assert ticker.started == []
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
async def test_each_kind_of_process_picks_up_what_suits_it(
    user, model, monkeypatch, kind, has_worker, expected
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
    ticker = Ticker(monkeypatch, kind)
    await ticker.tick()
    names = {pk: name for name, pk in made.items()}
    assert {names[pk] for pk, _from in ticker.started} == expected


async def test_servers_pick_up_bulk_when_the_last_worker_is_dead(user, model, ticker):
    await Process.objects.acreate(id="worker", kind=Process.Kind.WORKER, host="h", pid=1)
    orphan = await sync_to_async(owned_by)(user, model, "worker", source="batch")
    await ticker.tick()
    await ticker.tick(after_s=11)
    assert ticker.started == [(orphan.pk, "worker")]


async def test_final_answers_are_left_alone(user, model, ticker):
    await sync_to_async(owned_by)(user, model, "gone", status="completed", finished_at=timezone.now())
    await ticker.tick()
    assert ticker.started == []


async def test_slots_are_divided_by_the_processes_that_live(ticker):
    target = Target(base_url="http://127.0.0.1:9/v1", api_key="", model="m", endpoint="e", slots=32)
    admission = ticker.runtime.upstream_state.admission(target)
    for name in ("one", "two"):
        await Process.objects.acreate(id=name, host="h", pid=1)
    await ticker.tick()
    assert (admission.limit, admission.processes) == (10, 3)
    await Process.objects.filter(pk="one").aupdate(counter=1)
    await ticker.tick(after_s=11)
    assert admission.limit == 16


class Cleanups:
    """Scheduled tasks that only count."""

    def __init__(self):
        self.enqueued = 0

    async def enqueue_cleanup(self):
        self.enqueued += 1

    async def enqueue_webhooks(self):
        """Nothing is due in these tests."""

    async def enqueue_batches(self):
        """Nor here."""


@pytest.mark.parametrize(
    ("kind", "others", "cleans_up"),
    [
        (Process.Kind.SERVER, {}, True),
        (Process.Kind.SERVER, {"0": "server"}, False),
        (Process.Kind.SERVER, {"z": "server", "0": "command"}, True),
        (Process.Kind.SERVER, {"z": "worker"}, False),
        (Process.Kind.WORKER, {"0": "server"}, True),
        (Process.Kind.COMMAND, {}, False),
    ],
)
async def test_one_process_of_all_cleans_up(monkeypatch, db, kind, others, cleans_up):
    for name, each in others.items():
        await Process.objects.acreate(id=name, kind=each, host="h", pid=1)
    cleanups = Cleanups()
    ticker = Ticker(monkeypatch, kind, scheduled=cleanups)
    await ticker.tick()
    await ticker.tick()
    assert cleanups.enqueued == cleans_up
