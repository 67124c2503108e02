"""Runs that wait: for a slot, or behind an open breaker."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from chat import events
from chat.generation.outcome import save_outcome
from chat.models import Attempt, Endpoint, Generation
from chat.upstream import Target
from tests.generation.support import add_fallback, logged

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


async def test_a_breaker_open_from_the_start_leaves_one_row_of_the_model_that_was_called(living):
    async with living() as life:
        await add_fallback(life.provider)
        life.runtime.upstream_state.hold_open("fake", "fake")
        done = await life.answer("hello")
    [attempt] = [row async for row in Attempt.objects.filter(generation=done)]
    assert (attempt.model_name, attempt.outcome, done.calls) == ("fake:second", "completed", 1)
    assert (await logged(done.pk, events.Switched))[0].code == "breaker_open"


async def test_a_model_that_was_switched_off_says_so(living):
    async with living() as life:
        life.runtime.upstream_state.hold_open("fake", "fake")
        done = await life.answer("hello")
    assert (done.status, done.error_code) == ("failed", "breaker_open")
    assert "fake has been switched off by an administrator. Choose another model." in done.error_message


async def test_an_end_without_a_call_is_repeated_after_its_group_has_failed(living, monkeypatch):
    runs = []

    def refuse_once(*arguments):
        save_outcome(*arguments)
        runs.append(True)
        if len(runs) == 1:  # in the group; then it is repeated on its own
            raise OperationalError("the group is rolled back")

    monkeypatch.setattr("chat.generation.run.save_outcome", refuse_once)
    async with living() as life:
        life.runtime.upstream_state.hold_open("fake", "fake")
        done = await life.answer("hello")
    assert (len(runs), done.error_code, done.calls) == (2, "breaker_open", 0)
    assert not await Attempt.objects.filter(generation=done).aexists()


async def test_who_waits_for_a_slot_is_told_the_position_and_can_be_stopped(living, user):
    async with living() as life:
        await Endpoint.objects.aupdate(slots=1)
        holder = await life.ask("[[hold=gate after=0]]")
        holding = asyncio.create_task(life.run(holder.generation_id))
        await life.provider.wait_held("gate")
        accepted = await life.ask("second")
        waiting = asyncio.create_task(life.run(accepted.generation_id))
        while not await logged(accepted.generation_id, events.Queued):  # noqa: ASYNC110 - rows ring no bell
            await asyncio.sleep(0.01)
        await life.writer.arun(lambda: Generation.request_stop(user, accepted.generation_id))
        life.runner.stop(accepted.generation_id)
        await waiting
        assert life.runtime.upstream_state.endpoints()[0].waiting["interactive"] == 0
        life.provider.release("gate")
        await holding
        assert len(life.provider.requests) == 1
    stopped = await life.row(accepted)
    assert (stopped.status, stopped.calls) == ("stopped", 0)
    assert not await Attempt.objects.filter(generation=stopped).aexists()
    assert (await logged(stopped.pk, events.Queued)) == [events.Queued(1)]


async def test_the_time_in_line_is_on_the_attempt(living):
    async with living() as life:
        await Endpoint.objects.aupdate(slots=1)
        holder, accepted = await life.ask("[[hold=gate after=0]]"), await life.ask("second")
        holding = asyncio.create_task(life.run(holder.generation_id))
        await life.provider.wait_held("gate")
        waiting = asyncio.create_task(life.run(accepted.generation_id))
        while not await logged(accepted.generation_id, events.Queued):  # noqa: ASYNC110 - rows ring no bell
            await asyncio.sleep(0.01)
        life.provider.release("gate")
        await asyncio.gather(holding, waiting)
    attempt = await Attempt.objects.aget(generation_id=accepted.generation_id)
    assert attempt.outcome == "completed"
    assert attempt.queued_s > 0
    assert attempt.wait_s < 0.5


@pytest.mark.parametrize(("source", "is_refused"), [("websocket", False), ("api", True), ("batch", False)])
async def test_behind_an_open_breaker_people_wait_and_programs_are_refused(living, user, source, is_refused):
    async with living() as life:
        fails = life.runtime.upstream_state.breaker(Target("", "", "fake", endpoint="fake"))
        for _n in range(5):
            fails.record_failure(fails.try_acquire())
        accepted = await life.ask("hello", source=source)
        run = asyncio.create_task(life.run(accepted.generation_id))
        while not await logged(accepted.generation_id, events.Retrying | events.Failed):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if not is_refused:
            [waiting] = await logged(accepted.generation_id, events.Retrying)
            assert (waiting.code, waiting.attempt, waiting.of) == ("breaker_open", 1, 3)
            await life.writer.arun(lambda: Generation.request_stop(user, accepted.generation_id))
            life.runner.stop(accepted.generation_id)
        await run
        assert life.provider.requests == []
    done = await life.row(accepted)
    assert (done.status, done.error_code) == (("failed", "breaker_open") if is_refused else ("stopped", ""))
    assert "Try again in" in done.error_message or not is_refused
