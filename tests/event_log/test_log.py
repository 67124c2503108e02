"""Following a log: in order, without a gap, from memory and from the database."""

import asyncio

import pytest
from django.utils import timezone

from chat import events
from chat.event_log import follow as follow_module
from chat.event_log import read as read_module
from chat.event_log import topics as topics_module
from chat.event_log.log import EventLog
from chat.event_log.read import ReplayedText, fold, replay
from chat.event_log.writer import InlineWriter
from chat.models import Generation, LoggedEvent, Message
from tests.support.runtime import lease_on, running_generation, turn_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def log():
    return EventLog(InlineWriter())


def store(generation, *some, start=1):
    LoggedEvent.objects.bulk_create(
        LoggedEvent(generation_id=generation.pk, seq=seq, payload=events.encode(event).decode())
        for seq, event in enumerate(some, start)
    )


async def followed(log, generation, after=0):
    return [row async for rows in log.follow(generation.pk, after=after) for row in rows]


async def test_a_finished_log_is_replayed_from_where_the_reader_is(log, user, model):
    generation = await make(user, model)
    await to_thread(store, generation, *[events.Delta(str(n)) for n in range(1200)], events.Completed("stop"))

    rows = await followed(log, generation, after=600)

    assert [row.seq for row in rows] == list(range(601, 1202))
    assert fold(rows).text == "".join(str(n) for n in range(600, 1200))


async def test_a_slow_reader_of_large_events_is_given_few_at_a_time(log, user, model, monkeypatch):
    monkeypatch.setattr(read_module, "READ_CHARS", 300)
    generation = await make(user, model)
    sizes = [100, 100, 1000, 1000, 10]
    await to_thread(
        store, generation, *[events.Delta("x" * size) for size in sizes], events.Completed("stop")
    )

    groups = [[row.seq for row in rows] async for rows in log.follow(generation.pk)]

    assert groups == [[1, 2], [3], [4], [5, 6]]


async def test_a_final_generation_without_a_log_gives_one_snapshot(log, user, model):
    generation = await make(user, model, status="completed", finish_reason="length")
    await to_thread(Message.objects.filter(pk=generation.message_id).update, text="whole")

    rows = await followed(log, generation)

    assert [events.decode(row.payload) for row in rows] == [
        events.Snapshot(status="completed", text="whole", finish_reason="length")
    ]
    assert rows[0].is_terminal


async def test_a_generation_that_does_not_exist_gives_nothing(log, db):
    assert [rows async for rows in log.follow(404)] == []


async def test_a_reader_that_came_before_the_run_is_woken_by_it(log, user, model, monkeypatch):
    monkeypatch.setattr(follow_module, "POLL_S", 3600)
    generation = await make(user, model)
    reader = asyncio.create_task(followed(log, generation))
    await turn_until(lambda: log.topics.waiting(generation.pk))

    lease = lease_on(log, generation)
    await log.append(lease, events.Delta("hello"))
    await log.finish(lease, events.Completed("stop"), lambda: None)

    assert fold(await reader).text == "hello"


async def test_a_reader_of_a_run_that_was_just_started_waits_for_it_without_reading(
    log, user, model, monkeypatch
):
    generation = await make(user, model)
    monkeypatch.setattr(follow_module, "rows_after", None)
    log_of_run = log.follow(generation.pk, is_about_to_start=True)
    reader = asyncio.create_task(anext(log_of_run))
    await turn_until(lambda: log.topics.waiting(generation.pk))

    await log.append(lease_on(log, generation), events.Delta("hello"))

    assert fold(await reader).text == "hello"
    await log_of_run.aclose()


async def test_a_reader_that_gives_up_leaves_the_other_waiting(log, user, model, monkeypatch):
    monkeypatch.setattr(follow_module, "START_S", 3600)
    generation = await make(user, model)
    logs = [log.follow(generation.pk, is_about_to_start=True) for _ in range(2)]
    patient, impatient = (asyncio.create_task(anext(each)) for each in logs)
    await turn_until(lambda: log.topics.waiting(generation.pk) == 2)

    impatient.cancel()
    await asyncio.wait({impatient})
    await log.append(lease_on(log, generation), events.Delta("hello"))

    assert fold(await patient).text == "hello"
    assert not log.topics.waiting(generation.pk)
    await logs[0].aclose()


async def test_a_reader_behind_what_memory_keeps_reads_the_rest_from_the_database(
    log, user, model, monkeypatch
):
    monkeypatch.setattr(topics_module, "MEMORY_MAX_BYTES", 200)
    generation = await make(user, model)
    lease = lease_on(log, generation)
    for n in range(50):
        await log.append(lease, events.Delta(f"{n},"))
    reader = asyncio.create_task(followed(log, generation))
    for n in range(50, 100):
        await log.append(lease, events.Delta(f"{n},"))
        await asyncio.sleep(0)
    await log.finish(lease, events.Completed("stop"), lambda: None)

    rows = await reader

    assert [row.seq for row in rows] == list(range(1, 102))
    assert fold(rows).text == "".join(f"{n}," for n in range(100))


async def test_a_reader_whose_run_moves_to_another_process_goes_on_from_the_database(
    log, user, model, monkeypatch
):
    monkeypatch.setattr(follow_module, "POLL_S", 0.01)
    generation = await make(user, model)
    lease = lease_on(log, generation)
    await log.append(lease, events.Delta("here "))
    reader = asyncio.create_task(followed(log, generation))
    await to_thread(Generation.objects.filter(pk=generation.pk).update, owner="elsewhere", epoch=2)
    await log.append(lease, events.Delta("never"))  # fenced: the lease is lost
    await to_thread(store, generation, events.Delta("and there"), events.Completed("stop"), start=2)

    assert fold(await reader).text == "here and there"


def test_text_begins_anew_after_a_restart_but_keeps_what_was_there_before(user, model):
    generation = running_generation(user, model)
    store(
        generation, events.Thinking("hm"), events.Delta("gone"), events.Restarted("cut"), events.Delta("new")
    )

    state = replay(generation.pk, prefix="before ")

    assert state == ReplayedText(seq=4, text="before new", thinking="")


def test_tool_calls_are_replayed_and_a_restart_removes_them(user, model):
    generation = running_generation(user, model)
    store(
        generation,
        events.ToolCall(0, "x", "gone", "{"),
        events.Restarted("cut"),
        events.Delta("Sorry.", is_refusal=True),
        events.ToolCall(0, "y", "weather", '{"city":'),
        events.ToolCall(0, arguments='"Bern"}'),
    )

    state = replay(generation.pk)

    assert state.tool_calls == (events.WholeToolCall("y", "weather", '{"city":"Bern"}'),)
    assert (state.text, state.is_refusal) == ("Sorry.", True)


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
