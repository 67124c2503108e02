"""The real writer thread, on a real database file."""

import asyncio
import threading
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, connection

from chat import events
from chat.event_log import writer as writer_module
from chat.event_log.coalesce import coalesce
from chat.event_log.lease import LeaseLost
from chat.event_log.log import EventLog
from chat.event_log.read import replay
from chat.event_log.writer import ThreadWriter
from chat.models import Conversation, Generation, LoggedEvent, Message
from tests.event_log.support import end
from tests.support.runtime import lease_on, running_generation

pytestmark = pytest.mark.django_db(transaction=True)


def stored_text(generation):
    return replay(generation.pk).text


async def flush(log):
    await log.writer.arun(lambda: None)


def test_text_is_stored_in_order_and_once(log, user, model):
    generation = running_generation(user, model)
    words = [f"word {n} " for n in range(500)]

    async def produce():
        lease = lease_on(log, generation)
        for word in words:
            await log.append(lease, events.Delta(word))
            if len(word) % 3 == 0:
                await asyncio.sleep(0)
        await log.finish(lease, events.Completed("stop"), partial(end, generation, "".join(words)))

    asyncio.run(produce())

    assert stored_text(generation) == "".join(words)
    seqs = list(LoggedEvent.objects.filter(generation_id=generation.pk).values_list("seq", flat=True))
    assert sorted(seqs) == list(range(1, len(seqs) + 1))


def test_one_poisoned_generation_harms_none_of_fifty_others(log, user, model):
    healthy = [running_generation(user, model) for _n in range(50)]
    poisoned = running_generation(user, model)
    # A row is in the way of the poisoned one's second event, so that its insert must fail.
    LoggedEvent.objects.create(generation_id=poisoned.pk, seq=2, payload="{}")
    failures, others = [], []

    async def produce():
        leases = [lease_on(log, generation, others) for generation in healthy]
        bad = lease_on(log, poisoned, failures)
        for round_ in range(20):
            for lease in leases:
                await log.append(lease, events.Delta(f"{round_},"))
            if bad.failure is None:
                await log.append(bad, events.Delta("x"))
                await log.append(bad, events.Started("m"))
        for generation, lease in zip(healthy, leases, strict=True):
            await log.finish(lease, events.Completed("stop"), partial(end, generation, "done"))

    asyncio.run(produce())

    expected = "".join(f"{round_}," for round_ in range(20))
    assert [stored_text(generation) for generation in healthy] == [expected] * 50
    assert others == []
    assert isinstance(failures[0], IntegrityError)


def test_a_frozen_owner_that_wakes_after_takeover_writes_nothing(log, user, model):
    generation = running_generation(user, model, owner="frozen")
    failures = []

    async def produce():
        lease = lease_on(log, generation, failures)
        await log.append(lease, events.Delta("before"))
        await flush(log)
        taken = await log.writer.arun(
            lambda: Generation.claim(generation.pk, owner="heir", from_owner="frozen")
        )
        heir = log.open_lease(
            generation.pk, owner="heir", epoch=taken.epoch, seq=1, on_failure=failures.append
        )
        await log.append(heir, events.Delta(" and after"))
        await log.append(lease, events.Delta(" NEVER"))
        await flush(log)
        with pytest.raises(LeaseLost):
            await log.finish(lease, events.Completed("stop"), partial(end, generation, "NEVER"))
        with pytest.raises(LeaseLost):
            await log.append(lease, events.Delta("NEVER"))
        await flush(log)

    asyncio.run(produce())

    assert stored_text(generation) == "before and after"
    assert Generation.objects.get(pk=generation.pk).status == "running"
    assert [type(failure) for failure in failures] == [LeaseLost]


def test_a_stopped_row_takes_no_more_text(log, user, model):
    generation = running_generation(user, model)

    async def produce():
        lease = lease_on(log, generation)
        await log.finish(lease, events.Stopped(), partial(end, generation, ""))
        with pytest.raises(LeaseLost):
            await log.finish(lease, events.Completed("stop"), partial(end, generation, "late"))

    asyncio.run(produce())
    assert Message.objects.get(pk=generation.message_id).text == ""


def test_the_last_event_is_not_stored_when_the_final_state_cannot_be(log, user, model):
    generation = running_generation(user, model)

    def fails():
        raise ZeroDivisionError

    async def produce():
        lease = lease_on(log, generation)
        await log.append(lease, events.Delta("kept"))
        await flush(log)
        with pytest.raises(ZeroDivisionError):
            await log.finish(lease, events.Completed("stop"), fails)

    asyncio.run(produce())

    kinds = [row.payload for row in LoggedEvent.objects.filter(generation_id=generation.pk)]
    assert kinds == ['{"type":"delta","text":"kept"}']


def test_a_refused_verb_leaves_its_neighbours_alone(log, user):
    async def both():
        def refused():
            Conversation.objects.create(user=user, title="never")
            raise ValueError("no")

        good = log.writer.arun(lambda: Conversation.objects.create(user=user, title="kept"))
        bad = log.writer.arun(refused)
        return await asyncio.gather(good, bad, return_exceptions=True)

    good, bad = asyncio.run(both())
    assert good.title == "kept"
    assert isinstance(bad, ValueError)
    assert [row.title for row in Conversation.objects.all()] == ["kept"]


def test_a_caller_that_was_cancelled_harms_nobody_in_its_group(log, user, model):
    generation = running_generation(user, model)
    began, go_on = threading.Event(), threading.Event()

    def hold_the_writer():
        began.set()
        go_on.wait(10)

    async def produce():
        failures = []
        lease = lease_on(log, generation, failures)
        holding = asyncio.create_task(log.writer.arun(hold_the_writer))
        await asyncio.to_thread(began.wait, 10)
        given_up = asyncio.create_task(log.writer.arun(lambda: Conversation.objects.create(user=user)))
        patient = asyncio.create_task(log.writer.arun(lambda: "done"))
        await asyncio.sleep(0)
        given_up.cancel()
        holding.cancel()
        await asyncio.gather(given_up, holding, return_exceptions=True)
        await log.append(lease, events.Delta("kept"))
        go_on.set()
        assert await patient == "done"
        return failures

    assert asyncio.run(produce()) == []
    assert stored_text(generation) == "kept"
    assert Conversation.objects.count() == 1  # the generation's own


def test_a_locked_database_is_waited_for(log, user, model):
    if connection.vendor != "sqlite":
        pytest.skip("a lock on the whole database is SQLite's")
    generation = running_generation(user, model)
    locked, release = threading.Event(), threading.Event()

    def hold_the_lock():
        with connection.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            locked.set()
            release.wait(10)
            cursor.execute("COMMIT")
        connection.close()

    holder = threading.Thread(target=hold_the_lock)
    holder.start()
    locked.wait(10)

    async def produce():
        lease = lease_on(log, generation)
        await log.append(lease, events.Delta("patience"))
        release.set()
        await flush(log)

    asyncio.run(produce())
    holder.join()
    assert stored_text(generation) == "patience"


def test_a_writer_that_closes_has_stored_everything(user, model):
    log = EventLog(ThreadWriter())
    generation = running_generation(user, model)

    async def produce():
        lease = lease_on(log, generation)
        for n in range(1000):
            await log.append(lease, events.Delta(str(n % 10)))

    asyncio.run(produce())
    log.writer.close()
    assert len(stored_text(generation)) == 1000


def test_deltas_wait_for_the_next_group_and_verbs_and_the_end_do_not(user, model, monkeypatch):
    monkeypatch.setattr(writer_module, "GROUP_EVERY_TIMES", 3_600_000_000)
    monkeypatch.setattr(writer_module, "GROUP_EVERY_MAX_S", 3600)
    generation = running_generation(user, model)
    log = EventLog(ThreadWriter())

    async def write():
        lease = lease_on(log, generation)
        await flush(log)
        for word in ["one", "two", "three"]:
            await log.append(lease, events.Delta(word))
        before = await sync_to_async(stored_text)(generation)
        await flush(log)
        after = await sync_to_async(stored_text)(generation)
        await log.append(lease, events.Delta("four"))
        return before, after

    try:
        before, after = asyncio.run(write())
    finally:
        log.writer.close()

    assert (before, after) == ("", "onetwothree")
    assert stored_text(generation) == "onetwothreefour"


def test_neighbouring_deltas_are_joined_and_long_ones_cut():
    some = [
        events.Thinking("a"),
        events.Thinking("b"),
        events.Delta("c"),
        events.Started("m"),
        events.Delta("d" * 70_000),
    ]
    result = list(coalesce(some))
    assert result[:3] == [events.Thinking("ab"), events.Delta("c"), events.Started("m")]
    assert [len(event.text) for event in result[3:]] == [65_536, 4_464]


def test_a_writer_whose_thread_has_ended_says_so():
    writer = ThreadWriter()
    assert writer.problem() is None
    writer.close()
    assert "restart" in writer.problem()


def test_pieces_of_one_tool_call_are_joined_and_those_of_another_or_a_refusal_are_not():
    some = [
        events.Delta("a"),
        events.Delta("no", is_refusal=True),
        events.ToolCall(0, "x", "weather"),
        events.ToolCall(0, arguments='{"a"'),
        events.ToolCall(0, arguments=": 1}"),
        events.ToolCall(1, "y", "time", "{"),
        events.ToolCall(0, arguments=" "),
        events.ToolCall(1, arguments="}" * 70_000),
    ]
    result = list(coalesce(some))
    assert result[:5] == [
        events.Delta("a"),
        events.Delta("no", is_refusal=True),
        events.ToolCall(0, "x", "weather", '{"a": 1}'),
        events.ToolCall(1, "y", "time", "{"),
        events.ToolCall(0, arguments=" "),
    ]
    assert [(event.id, len(event.arguments)) for event in result[5:]] == [("", 65_536), ("", 4_464)]
    pieces = [event for event in result if isinstance(event, events.ToolCall)]
    assert events.whole_tool_calls(pieces) == [
        events.WholeToolCall("x", "weather", '{"a": 1} '),
        events.WholeToolCall("y", "time", "{" + "}" * 70_000),
    ]
