"""The life of an answer, from the question to its last transaction, against a provider on a real socket."""

import asyncio
from decimal import Decimal
from functools import partial

import pytest
from asgiref.sync import sync_to_async

from chat.event_log.read import replay
from chat.generation import runner as runner_module
from chat.generation.claim import claim
from chat.generation.outcome import save_outcome
from chat.models import Attempt, Conversation, Endpoint, Generation, Model
from tests.generation.support import shown

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


async def test_an_answer_is_stored_whole_with_its_attempt_and_usage(living):
    async with living(input_usd_per_million=1, output_usd_per_million=2) as life:
        done = await life.answer("hello [[deltas=40]]")
        expected = life.provider.text_for("hello [[deltas=40]]")
    assert done.status == "completed"
    assert done.finish_reason == "stop"
    assert done.message.text == expected
    assert done.message.html.startswith("<")
    assert not done.is_usage_estimated
    assert done.cost_usd == Decimal(done.input_tokens + 2 * done.output_tokens) / 1_000_000
    attempt = await Attempt.objects.aget(generation=done)
    assert (attempt.number, attempt.outcome, attempt.model_name) == (1, "completed", "fake")
    assert done.created_at <= done.first_delta_at <= done.finished_at
    assert (await in_thread(replay)(done.pk)).text == expected


@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [
        ("[[status=401]]", "failed", "wrong_key"),
        ("[[status=404]]", "failed", "unknown_model"),
        ("[[quota]]", "failed", "insufficient_quota"),
        ("[[filtered]]", "failed", "content_filter"),
        ("[[cut after=5]]", "interrupted", "cut"),
        ("[[malformed after=5]]", "interrupted", "malformed"),
    ],
)
async def test_a_failure_is_named_and_keeps_the_text_so_far(living, settings, directive, status, code):
    settings.RECOVERIES_PER_GENERATION = 0
    async with living() as life:
        done = await life.answer(directive)
    assert (done.status, done.error_code) == (status, code)
    assert bool(done.message.text) == (status == "interrupted")
    assert "%(" not in done.error_message
    attempt = await Attempt.objects.aget(generation=done)
    assert (attempt.outcome, attempt.error_code) == ("failed", code)


async def test_an_end_that_the_database_refuses_does_not_leave_the_answer_running(living, monkeypatch):
    refused = []

    def refuse_twice(*arguments):
        if len(refused) < 2:  # in the group, and on its own
            refused.append(True)
            raise ValueError("a value that no column takes")
        return save_outcome(*arguments)

    monkeypatch.setattr("chat.generation.run.save_outcome", refuse_twice)
    async with living() as life:
        done = await life.answer("hello [[deltas=5]]")
        expected = life.provider.text_for("hello [[deltas=5]]")
    assert (done.status, done.error_code) == ("interrupted", "not_stored")
    assert expected.startswith(done.message.text)
    attempt = await Attempt.objects.aget(generation=done)
    assert attempt.outcome == "failed"


async def test_a_parameter_that_the_model_refuses_is_left_out_and_remembered_on_its_row(living):
    async with living() as life:
        first = await life.answer("[[refuse=temperature]]", temperature=0.2)
        model = await Model.objects.aget()
        again = await life.answer("again [[refuse=temperature]]", temperature=0.2)
        calls = len(life.provider.requests)
    assert (first.status, again.status, calls) == ("completed", "completed", 3)
    assert list(model.refused_parameters) == ["temperature"]
    rows = [row async for row in Attempt.objects.order_by("pk").values_list("outcome", "left_out")]
    assert rows == [("failed", ""), ("completed", "temperature"), ("completed", "temperature")]


async def test_a_parameter_is_sent_again_once_its_entry_is_removed(living, monkeypatch):
    monkeypatch.setattr("chat.upstream.state.REFUSED_S", 0.0)
    async with living() as life:
        await life.answer("[[refuse=temperature]]", temperature=0.2)
        await Model.objects.aupdate(refused_parameters={})
        again = await life.answer("again", temperature=0.2)
        assert life.provider.requests[-1].body["temperature"] == 0.2
    assert again.calls == 1


async def test_every_retry_is_a_row(living, settings):
    settings.RETRY_POLICY = {"backoff_first_s": 0.0}
    async with living() as life:
        done = await life.answer("[[status=503 times=2]]")
    rows = [row async for row in Attempt.objects.filter(generation=done)]
    assert done.status == "completed"
    assert done.calls == 3
    assert [(row.number, row.outcome, row.error_code) for row in rows] == [
        (1, "failed", "server_error"),
        (2, "failed", "server_error"),
        (3, "completed", ""),
    ]


async def test_a_stop_keeps_the_text_and_reaches_the_provider(living, user):
    async with living() as life:
        accepted = await life.ask("[[hold=gate after=3]]")
        run = asyncio.create_task(life.run(accepted.generation_id))
        record = await life.provider.wait_held("gate")
        await shown(life, accepted.generation_id, record.text)
        assert await life.writer.arun(lambda: Generation.request_stop(user, accepted.generation_id))
        life.runner.stop(accepted.generation_id)
        await run
        await life.provider.wait_for(lambda each: each.left_s is not None)
    done = await life.row(accepted)
    assert done.status == "stopped"
    assert done.message.text == record.text
    assert (await Attempt.objects.aget(generation=done)).outcome == "stopped"


async def test_a_claim_that_waits_for_the_writer_is_not_made_twice(living, monkeypatch):
    claims = []
    claim = runner_module.claim
    monkeypatch.setattr(runner_module, "claim", lambda *args: claims.append(args) or claim(*args))
    async with living() as life:
        accepted = await life.ask("hello")
        # The task that was started with the question, and the heartbeat that finds its row.
        await asyncio.gather(*(life.run(accepted.generation_id) for _ in range(2)))
    assert len(claims) == 1
    assert (await life.row(accepted)).status == "completed"


async def test_a_stop_before_the_run_began_makes_no_call(living, user):
    async with living() as life:
        accepted = await life.ask("hello")
        await life.writer.arun(lambda: Generation.request_stop(user, accepted.generation_id))
        await life.run(accepted.generation_id)
        assert life.provider.requests == []
    assert (await life.row(accepted)).status == "stopped"


async def test_two_runs_of_one_generation_make_one_answer(living):
    async with living() as life:
        accepted = await life.ask("once")
        await asyncio.gather(*[life.run(accepted.generation_id) for _n in range(5)])
        assert len(life.provider.requests) == 1
    assert (await life.row(accepted)).epoch == 1


async def test_a_deleted_conversation_is_not_answered_any_further(living):
    async with living() as life:
        accepted = await life.ask("[[hold=gate after=3]]")
        run = asyncio.create_task(life.run(accepted.generation_id))
        await life.provider.wait_held("gate")
        await Conversation.objects.filter(pk=accepted.conversation_id).adelete()
        life.runner.stop(accepted.generation_id)
        await run
        await life.provider.wait_for(lambda each: each.left_s is not None)
    assert not await Generation.objects.aexists()


async def test_older_turns_are_left_out_when_they_do_not_fit(living):
    async with living(context_tokens=600) as life:
        conversation_id = None
        for n in range(8):
            done = await life.answer(
                f"turn {n} " + "word " * 60 + "[[text=ok]]", conversation_id=conversation_id
            )
            conversation_id = done.message.conversation_id
        sent = life.provider.requests[-1].body["messages"]
    assert done.left_out > 0
    assert len(sent) + done.left_out == 15
    assert sent[-1]["content"].startswith("turn 7")
    assert sent[0]["role"] == "user"


async def test_a_prompt_that_is_refused_as_too_long_is_sent_once_more_and_smaller(living):
    async with living() as life:
        first = await life.answer("a " * 150 + "[[text=ok]]")
        done = await life.answer(
            "b " * 20 + "[[context=100]] [[text=short]]", conversation_id=first.message.conversation_id
        )
        sizes = [len(record.body["messages"]) for record in life.provider.requests]
    assert sizes == [1, 3, 1]
    assert (done.status, done.left_out, done.calls) == ("completed", 2, 2)


async def test_an_answer_longer_than_the_limit_ends_as_length(living, settings):
    settings.ANSWER_MAX_CHARS = 1000
    async with living() as life:
        done = await life.answer("[[deltas=5000 rate=0]]")
    assert (done.status, done.finish_reason) == ("completed", "length")
    assert len(done.message.text) > 1000


async def test_a_model_whose_row_is_gone_fails_kindly(living):
    async with living() as life:
        accepted = await life.ask("hello")
        await Model.objects.all().adelete()
        await life.run(accepted.generation_id)
    done = await life.row(accepted)
    assert (done.status, done.error_code) == ("failed", "unknown_model")


async def test_a_drain_hands_over_what_does_not_end_in_time(living):
    async with living() as life:
        accepted = await life.ask("[[hold=gate after=3]]")
        run = asyncio.create_task(life.run(accepted.generation_id))
        await life.provider.wait_held("gate")
        await life.runtime.drain(0.01)
        await asyncio.wait({run})
        late = await life.ask("too late")
        await life.run(late.generation_id)
    row = await life.row(accepted)
    assert (row.status, row.owner) == ("queued", "")
    assert (await life.row(late)).epoch == 0


async def test_a_drain_releases_what_was_being_claimed_when_it_began(living):
    """An answer that begins after the drain has looked at the running ones would lose its connection."""
    async with living() as life:
        accepted = [await life.ask(f"{n} [[deltas=200 rate=0]]") for n in range(3)]
        runs = [life.runner.start(each.generation_id) for each in accepted]
        await life.runtime.drain(10)
        assert all(run.done() for run in runs)
        assert not life.provider.requests
    rows = [await life.row(each) for each in accepted]
    assert {(row.status, row.owner, row.error_code) for row in rows} == {("queued", "", "")}


async def test_a_drain_waits_for_what_had_just_been_claimed(living):
    async with living() as life:
        accepted = await life.ask("hello")
        claimed = await life.writer.arun(partial(claim, accepted.generation_id, life.runner.process_id, ""))
        run = await life.runner.run_claimed(claimed)
        await life.runtime.drain(10)
        assert run.done()
    assert (await life.row(accepted)).status == "completed"


async def test_a_drain_hands_over_first_what_can_be_written_on(living):
    async with living() as life:
        endpoint = await Endpoint.objects.aget()
        able = await Model.objects.acreate(endpoint=endpoint, name="fake:able", continuation="plain")
        begun = [
            await life.ask(f"[[hold=gate{n} after=3]]", model_id=able.pk if n == 1 else None)
            for n in range(3)
        ]
        runs = [asyncio.create_task(life.run(each.generation_id)) for each in begun]
        for n in range(3):
            await life.provider.wait_held(f"gate{n}")
        await life.runtime.drain(0)
        await asyncio.wait(runs)
        for record in life.provider.requests:
            await life.provider.wait_for(
                lambda each, id_=record.id: each.id == id_ and each.left_s is not None
            )
        left = sorted(life.provider.requests, key=lambda record: record.left_s)
    assert left[0].model == "fake:able"
    assert [(await life.row(each)).status for each in begun] == ["queued"] * 3
