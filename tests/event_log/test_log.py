"""Following a log: in order, without a gap, from memory and from the database."""

import asyncio

import pytest
from django.utils import timezone

from chat import events
from chat.event_log import log as delta_log
from chat.models import Generation, LoggedEvent, Message
from tests.event_log.test_writer import lease_on, running_generation

pytestmark = pytest.mark.django_db


def log(generation, *some, start=1):
    LoggedEvent.objects.bulk_create(
        LoggedEvent(generation_id=generation.pk, seq=seq, payload=events.encode(event).decode())
        for seq, event in enumerate(some, start)
    )


async def followed(generation, after=0):
    return [row async for rows in delta_log.follow(generation.pk, after=after) for row in rows]


async def test_a_finished_log_is_replayed_from_where_the_reader_is(user, model):
    generation = await make(user, model)
    await to_thread(log, generation, *[events.Delta(str(n)) for n in range(1200)], events.Completed("stop"))

    rows = await followed(generation, after=600)

    assert [row.seq for row in rows] == list(range(601, 1202))
    assert delta_log.fold(rows).text == "".join(str(n) for n in range(600, 1200))


async def test_a_slow_reader_of_large_events_is_given_few_at_a_time(user, model, monkeypatch):
    monkeypatch.setattr(delta_log, "READ_CHARS", 300)
    generation = await make(user, model)
    sizes = [100, 100, 1000, 1000, 10]
    await to_thread(log, generation, *[events.Delta("x" * size) for size in sizes], events.Completed("stop"))

    groups = [[row.seq for row in rows] async for rows in delta_log.follow(generation.pk)]

    assert groups == [[1, 2], [3], [4], [5, 6]]


async def test_a_final_generation_without_a_log_gives_one_snapshot(user, model):
    generation = await make(user, model, status="completed", finish_reason="length")
    await to_thread(Message.objects.filter(pk=generation.message_id).update, text="whole")

    rows = await followed(generation)

    assert [events.decode(row.payload) for row in rows] == [
        events.Snapshot(status="completed", text="whole", finish_reason="length")
    ]
    assert rows[0].is_terminal


async def test_a_generation_that_does_not_exist_gives_nothing(db):
    assert [rows async for rows in delta_log.follow(404)] == []


async def test_a_reader_that_came_before_the_run_is_woken_by_it(user, model, monkeypatch):
    monkeypatch.setattr(delta_log, "POLL_S", 3600)
    generation = await make(user, model)
    reader = asyncio.create_task(followed(generation))
    while generation.pk not in delta_log._expected:  # noqa: ASYNC110 - turns of the loop, not a time
        await asyncio.sleep(0)

    lease = lease_on(generation)
    await delta_log.append(lease, events.Delta("hello"))
    await delta_log.finish(lease, events.Completed("stop"), lambda: None)

    assert delta_log.fold(await reader).text == "hello"


async def test_a_reader_of_a_run_that_was_just_started_waits_for_it_without_reading(user, model, monkeypatch):
    generation = await make(user, model)
    monkeypatch.setattr(delta_log, "_read", None)
    log_of_run = delta_log.follow(generation.pk, is_about_to_begin=True)
    reader = asyncio.create_task(anext(log_of_run))
    while generation.pk not in delta_log._expected:  # noqa: ASYNC110 - turns of the loop, not a time
        await asyncio.sleep(0)

    await delta_log.append(lease_on(generation), events.Delta("hello"))

    assert delta_log.fold(await reader).text == "hello"
    await log_of_run.aclose()


async def test_a_reader_that_gives_up_leaves_the_other_waiting(user, model, monkeypatch):
    monkeypatch.setattr(delta_log, "BEGIN_S", 3600)
    generation = await make(user, model)
    logs = [delta_log.follow(generation.pk, is_about_to_begin=True) for _ in range(2)]
    patient, impatient = (asyncio.create_task(anext(each)) for each in logs)
    while len(delta_log._expected.get(generation.pk, ())) < 2:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)

    impatient.cancel()
    await asyncio.wait({impatient})
    await delta_log.append(lease_on(generation), events.Delta("hello"))

    assert delta_log.fold(await patient).text == "hello"
    assert not delta_log._expected
    await logs[0].aclose()


async def test_a_reader_behind_what_memory_keeps_reads_the_rest_from_the_database(user, model, monkeypatch):
    monkeypatch.setattr(delta_log, "MEMORY_MAX_BYTES", 200)
    generation = await make(user, model)
    lease = lease_on(generation)
    for n in range(50):
        await delta_log.append(lease, events.Delta(f"{n},"))
    reader = asyncio.create_task(followed(generation))
    for n in range(50, 100):
        await delta_log.append(lease, events.Delta(f"{n},"))
        await asyncio.sleep(0)
    await delta_log.finish(lease, events.Completed("stop"), lambda: None)

    rows = await reader

    assert [row.seq for row in rows] == list(range(1, 102))
    assert delta_log.fold(rows).text == "".join(f"{n}," for n in range(100))


async def test_a_reader_whose_run_moves_to_another_process_goes_on_from_the_database(
    user, model, monkeypatch
):
    monkeypatch.setattr(delta_log, "POLL_S", 0.01)
    generation = await make(user, model)
    lease = lease_on(generation)
    await delta_log.append(lease, events.Delta("here "))
    reader = asyncio.create_task(followed(generation))
    await to_thread(Generation.objects.filter(pk=generation.pk).update, owner="elsewhere", epoch=2)
    await delta_log.append(lease, events.Delta("never"))  # fenced: the lease is lost
    await to_thread(log, generation, events.Delta("and there"), events.Completed("stop"), start=2)

    assert delta_log.fold(await reader).text == "here and there"


def test_text_begins_anew_after_a_restart_but_keeps_what_was_there_before(user, model):
    generation = running_generation(user, model)
    log(generation, events.Thinking("hm"), events.Delta("gone"), events.Restarted("cut"), events.Delta("new"))

    state = delta_log.state(generation.pk, prefix="before ")

    assert state == delta_log.ReplayedText(seq=4, text="before new", thinking="")


async def make(user, model, **fields):
    def create():
        generation = running_generation(user, model)
        if fields:
            Generation.objects.filter(pk=generation.pk).update(**fields, finished_at=timezone.now())
            generation.refresh_from_db()
        return generation

    return await to_thread(create)


async def to_thread(function, *args, **kwargs):
    from asgiref.sync import sync_to_async

    return await sync_to_async(function)(*args, **kwargs)
