"""Answers whose process died, or that were cut: how another run continues or restarts them."""

from functools import partial

import pytest
from asgiref.sync import sync_to_async

from chat import events
from chat.event_log.read import replay
from chat.models import Conversation, Generation
from tests.generation.support import logged, orphan

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


async def test_an_orphan_is_continued_where_its_process_died(living):
    async with living(continuation="plain") as life:
        expected = life.provider.text_for("orphan")
        accepted = await orphan(life, events.Started("fake"), events.Delta(expected[:50]))
        await life.run(accepted.generation_id, from_owner="dead")
        assert [record.prefill for record in life.provider.requests] == [expected[:50]]
    done = await life.row(accepted)
    assert (done.status, done.epoch, done.calls, done.recoveries) == ("completed", 2, 2, 1)
    assert done.message.text == expected
    assert (await in_thread(replay)(done.pk)).text == expected
    [continued] = await logged(done.pk, events.Continued)
    assert continued.code == "process_lost"
    rows = [(row.outcome, row.recovery, row.before_chars) async for row in done.attempts.all()]
    assert rows == [("lost", "", 0), ("completed", "continue", 50)]


async def test_an_orphan_that_says_something_else_now_begins_anew_and_reviewers_keep_the_old_text(living):
    async with living() as life:
        accepted = await orphan(life, events.Delta("half an ans"))
        await life.run(accepted.generation_id, from_owner="dead")
        expected = life.provider.text_for("orphan")
    done = await life.row(accepted)
    assert (done.status, done.message.text) == ("completed", expected)
    assert (await in_thread(replay)(done.pk)).text == expected
    assert [event.reason for event in await logged(done.pk, events.Restarted)] == ["process_lost"]
    rows = [(row.recovery, row.abandoned_text) async for row in done.attempts.all()]
    assert rows == [("", "half an ans"), ("restart", "")]


async def test_an_orphan_that_only_thought_begins_anew_without_a_recovery(living):
    async with living() as life:
        accepted = await orphan(life, events.Thinking("Hm"))
        await life.run(accepted.generation_id, from_owner="dead")
    done = await life.row(accepted)
    assert (done.status, done.recoveries, done.message.thinking) == ("completed", 0, "")
    assert len(await logged(done.pk, events.Restarted)) == 1


@pytest.mark.parametrize("keeps", [{"RECOVERY": "keep"}, {"RECOVERIES_PER_GENERATION": 0}])
async def test_an_orphan_keeps_its_text_where_operators_want_that(living, settings, keeps):
    for name, value in keeps.items():
        setattr(settings, name, value)
    async with living(continuation="plain") as life:
        accepted = await orphan(life, events.Delta("half an ans"))
        await life.run(accepted.generation_id, from_owner="dead")
        assert life.provider.requests == []
    done = await life.row(accepted)
    assert (done.status, done.error_code) == ("interrupted", "process_lost")
    assert (done.message.text, done.can_resume, done.calls) == ("half an ans", True, 1)


async def test_an_orphan_that_was_stopped_is_not_recovered(living, user):
    async with living(continuation="plain") as life:
        accepted = await orphan(life, events.Delta("half an ans"))
        assert await life.writer.arun(lambda: Generation.request_stop(user, accepted.generation_id))
        await life.run(accepted.generation_id, from_owner="dead")
        assert life.provider.requests == []
    done = await life.row(accepted)
    assert (done.status, done.message.text) == ("stopped", "half an ans")


async def test_recoveries_are_bounded_over_all_takeovers(living):
    async with living(continuation="plain") as life:
        accepted = await orphan(life, events.Delta("half an ans"), recoveries=2)
        await life.run(accepted.generation_id, from_owner="dead")
        assert life.provider.requests == []
    assert (await life.row(accepted)).status == "interrupted"


async def test_calls_of_a_dead_process_count_for_their_model(living, settings):
    settings.RETRY_POLICY = {"backoff_first_s": 0.0}
    async with living() as life:
        accepted = await orphan(life, question="[[status=503]]")
        await life.run(accepted.generation_id, from_owner="dead")
        assert len(life.provider.requests) == 2
    assert (await life.row(accepted)).calls == 3


async def test_a_cut_continuation_goes_on_behind_the_text_from_before(living, user):
    async with living(continuation="plain") as life:
        first = await life.answer("long [[finish=length deltas=10 on=1]] [[drop after=5 on=2]]")
        more = await life.writer.arun(partial(Conversation.resume, user, first.message_id, client_id="more"))
        await life.run(more.generation_id)
        expected = life.provider.text_for("long")
    second = await life.row(more)
    assert (second.status, second.recoveries) == ("completed", 1)
    assert second.message.text == expected


async def test_an_answer_too_long_to_keep_in_memory_is_stored_and_recovered_whole(living, monkeypatch):
    monkeypatch.setattr("chat.generation.text_buffer.KEPT_MAX_CHARS", 40)
    async with living(continuation="plain") as life:
        done = await life.answer("long [[drop after=20 times=1]]")
        expected = life.provider.text_for("long")
    assert (done.status, done.recoveries) == ("completed", 1)
    assert done.message.text == expected


async def test_calls_are_bounded_over_all_takeovers(living):
    async with living() as life:
        accepted = await life.ask("poison")
        await Generation.objects.filter(pk=accepted.generation_id).aupdate(
            owner="dead", epoch=8, status="running", calls=8
        )
        await life.run(accepted.generation_id, from_owner="dead")
        assert life.provider.requests == []
    done = await life.row(accepted)
    assert (done.status, done.error_code) == ("failed", "gave_up")


async def test_an_answer_that_was_cut_short_is_written_on(living, user):
    async with living(continuation="plain") as life:
        first = await life.answer("long [[finish=length deltas=10]]")
        assert first.message.text
        more = await life.writer.arun(partial(Conversation.resume, user, first.message_id, client_id="more"))
        await life.run(more.generation_id)
        second = await life.row(more)
        prefill = life.provider.requests[-1].prefill
    assert prefill == first.message.text
    assert second.message_id == first.message_id
    assert second.message.text.startswith(first.message.text)
    assert second.prefix == first.message.text


async def test_choices_that_a_lost_process_left_are_kept_and_never_completed_by_another_call(living):
    async with living() as life:
        pieces = [events.ChoicePiece(1, "Y"), events.ChoicePiece(0, "N", logprobs={"content": [1]})]
        accepted = await orphan(life, events.Choices(pieces))
        request = {"messages": [{"role": "user", "content": "Which?"}], "parameters": {"n": 2}}
        await Generation.objects.filter(pk=accepted.generation_id).aupdate(request=request)
        await life.run(accepted.generation_id, from_owner="dead")
        assert life.provider.requests == []
    done = await life.row(accepted)
    assert (done.status, done.error_code) == ("interrupted", "process_lost")
    assert [(each["index"], each["text"], each["finish_reason"]) for each in done.message.choices] == [
        (0, "N", ""),
        (1, "Y", ""),
    ]


async def test_a_lost_request_for_choices_that_showed_nothing_is_made_again(living):
    async with living() as life:
        accepted = await orphan(life)
        request = {
            "messages": [{"role": "user", "content": "[[text=Yes.]] [[usage=never]]"}],
            "parameters": {"n": 2},
        }
        await Generation.objects.filter(pk=accepted.generation_id).aupdate(request=request)
        await life.run(accepted.generation_id, from_owner="dead")
    done = await life.row(accepted)
    assert (done.status, done.message.text) == ("completed", "Yes.")
    assert [each["text"] for each in done.message.choices] == ["Yes.", "(1) Yes."]
    assert (done.is_usage_estimated, done.output_tokens) == (True, 5)  # of both choices
