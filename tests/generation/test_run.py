"""The life of an answer, from the question to its last transaction, against a provider on a real socket."""

import asyncio
import contextlib
from decimal import Decimal
from functools import partial

import pytest
from asgiref.sync import sync_to_async

from chat import events
from chat.event_log.replay import fold, replay
from chat.fakeprovider import FakeProvider
from chat.generation import runner as runner_module
from chat.models import Attempt, Conversation, Endpoint, Fallback, Generation, LoggedEvent, Model
from chat.models.api_request import ApiRequest
from chat.upstream import Target
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


class Life:
    """A user's questions, the provider that answers them, and the runtime in between."""

    def __init__(self, user, provider, runtime):
        self.user, self.provider, self.runtime, self.questions = user, provider, runtime, 0
        self.runner, self.writer, self.log = runtime.runner, runtime.writer, runtime.log

    async def ask(self, text, **more):
        self.questions += 1
        verb = partial(Conversation.ask, self.user, text, client_id=f"id{self.questions}", **more)
        return await self.writer.arun(verb)

    async def run(self, generation_id, *, from_owner=""):
        """Run a generation to its end, if this process may."""
        task = self.runner.start(generation_id, from_owner=from_owner)
        if task is not None:
            await task

    async def stop(self, generation_id):
        """Request a stop, and carry it out here."""
        await self.writer.arun(lambda: Generation.request_stop(self.user, generation_id))
        self.runner.stop(generation_id)

    async def answer(self, text, **more):
        """Ask, run the answer to its end, return its row."""
        started = await self.ask(text, **more)
        await self.run(started.generation_id)
        return await self.row(started)

    async def row(self, started):
        rows = Generation.objects.select_related("message__conversation")
        return await rows.aget(pk=started.generation_id)


@pytest.fixture
def living(user):
    """Return a context manager: a Life whose default model is a fake provider's."""

    @contextlib.asynccontextmanager
    async def live(**fields):
        async with FakeProvider() as provider, open_runtime() as runtime:
            endpoint = await Endpoint.objects.acreate(name="fake", base_url=provider.base_url)
            await Model.objects.acreate(endpoint=endpoint, name="fake", is_default=True, **fields)
            yield Life(user, provider, runtime)

    return live


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


async def orphan(life, *logged, question="orphan", **fields):
    """Return an answer as a process left it that died over its first call."""
    accepted = await life.ask(question)
    await Generation.objects.filter(pk=accepted.generation_id).aupdate(
        **({"owner": "dead", "epoch": 1, "status": "running", "calls": 1} | fields)
    )
    await Attempt.objects.acreate(
        generation_id=accepted.generation_id, number=1, model_name="fake", endpoint_name="fake"
    )
    for seq, event in enumerate(logged, 1):
        await LoggedEvent.objects.acreate(
            generation_id=accepted.generation_id, seq=seq, payload=events.encode(event).decode()
        )
    return accepted


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


async def add_fallback(provider, name="fake:second", confidentiality="", **fields):
    """Give the default model a fallback at another endpoint."""
    endpoint = await Endpoint.objects.acreate(
        name=f"at {name}", base_url=provider.base_url, confidentiality=confidentiality
    )
    model = await Model.objects.acreate(endpoint=endpoint, name=name, **fields)
    await Fallback.objects.acreate(model=await Model.objects.aget(is_default=True), fallback=model)
    return model


async def logged(generation_id, kind):
    """Return the events of one kind in a generation's log."""
    rows = LoggedEvent.objects.filter(generation_id=generation_id).order_by("seq")
    found = [events.decode(row.payload) async for row in rows]
    return [event for event in found if isinstance(event, kind)]


async def test_a_fallback_answers_and_everything_says_so(living):
    async with living(input_usd_per_million=1, output_usd_per_million=1) as life:
        life.provider.script("status=401", model="fake")
        await add_fallback(life.provider, input_usd_per_million=5, output_usd_per_million=5)
        done = await life.answer("hello")
        expected = life.provider.text_for("hello", "fake:second")
    rows = [row async for row in Attempt.objects.filter(generation=done)]
    assert (done.status, done.message.text, done.calls) == ("completed", expected, 2)
    assert [(row.model_name, row.endpoint_name, row.outcome, row.error_code) for row in rows] == [
        ("fake", "fake", "failed", "wrong_key"),
        ("fake:second", "at fake:second", "completed", ""),
    ]
    assert done.cost_usd == Decimal(5 * (done.input_tokens + done.output_tokens)) / 1_000_000
    [switched] = await logged(done.pk, events.Switched)
    assert (switched.model, switched.code) == ("fake:second", "wrong_key")
    assert "fake:second answers instead." in switched.message
    assert "administrator" not in switched.message


async def test_nothing_falls_over_to_another_confidentiality(living):
    async with living() as life:
        await add_fallback(life.provider, confidentiality="public")
        done = await life.answer("[[status=401]]")
        assert {record.body["model"] for record in life.provider.requests} == {"fake"}
    assert (done.status, done.error_code) == ("failed", "wrong_key")


async def test_nothing_falls_over_to_what_is_switched_off(living):
    async with living() as life:
        await add_fallback(life.provider, is_enabled=False)
        done = await life.answer("[[status=401]]")
    assert done.error_code == "wrong_key"


async def test_each_model_of_the_route_is_sent_what_fits_it(living):
    async with living(context_tokens=600) as life:
        await add_fallback(life.provider, context_tokens=100_000, system_prompt="Be brief.")
        first = await life.answer("turn " + "word " * 300 + "[[text=ok]]")
        life.provider.script("status=401", model="fake")
        done = await life.answer("more " + "word " * 100, conversation_id=first.message.conversation_id)
        small, large = (record.body["messages"] for record in life.provider.requests[-2:])
    assert [message["role"] for message in small] == ["user"]
    assert [message["role"] for message in large] == ["system", "user", "assistant", "user"]
    assert done.left_out == 0


async def ask_once(life, model, *messages, **parameters):
    """Ask as a program does, run the answer to its end, return its row."""
    fallbacks = parameters.pop("fallbacks", None)
    request = ApiRequest(list(messages), parameters, fallbacks)
    verb = partial(Conversation.ask_once, life.user, request, model=model, client_id="once", source="api")
    accepted = await life.writer.arun(verb)
    await life.run(accepted.generation_id)
    return await life.row(accepted)


async def test_what_a_program_asks_is_sent_as_it_is(living):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {}}],
        },
    ]
    async with living(system_prompt="not sent", context_tokens=256, max_output_tokens=50) as life:
        model = await Model.objects.aget()
        done = await ask_once(life, model, *messages, seed=7, temperature=0.5, max_tokens=9)
        [record] = life.provider.requests
    assert done.status == "completed"
    assert record.body["messages"] == messages
    assert (record.body["seed"], record.body["temperature"], record.body["max_tokens"]) == (7, 0.5, 9)


async def test_a_models_own_limit_holds_for_programs(living):
    async with living(max_output_tokens=5) as life:
        await ask_once(life, await Model.objects.aget(), {"role": "user", "content": "hello"}, max_tokens=9)
        [record] = life.provider.requests
    assert record.body["max_tokens"] == 5


async def test_a_cut_answer_to_a_program_is_continued(living):
    async with living(continuation="plain") as life:
        asked = {"role": "user", "content": "go on [[cut after=5 times=1]]"}
        done = await ask_once(life, await Model.objects.aget(), asked)
        expected = life.provider.text_for(asked["content"])
    assert (done.status, done.message.text, done.calls) == ("completed", expected, 2)


async def test_a_request_too_long_for_its_model_is_not_made_shorter(living):
    async with living() as life:
        many = [{"role": "user", "content": "hello [[context=5]]"}] * 4
        done = await ask_once(life, await Model.objects.aget(), *many)
        assert len(life.provider.requests) == 1
    assert (done.status, done.error_code) == ("failed", "context_too_long")


@pytest.mark.parametrize("own", [None, [], ["other"]])
async def test_a_requests_own_fallbacks_stand_in_for_those_of_its_models_row(living, own):
    async with living() as life:
        life.provider.script("status=401", model="fake")
        rows = await add_fallback(life.provider, "fake:row")
        other = await Model.objects.acreate(endpoint_id=rows.endpoint_id, name="fake:other")
        ids = None if own is None else [other.pk for _name in own]
        model = await Model.objects.aget(is_default=True)
        done = await ask_once(life, model, {"role": "user", "content": "hello"}, fallbacks=ids)
    asked = [row.model_name async for row in Attempt.objects.filter(generation=done)]
    assert asked == ["fake", *(["fake:row"] if own is None else ["fake:other"] if own else [])]


async def test_a_requests_own_fallbacks_are_of_its_models_confidentiality(living):
    async with living() as life:
        life.provider.script("status=401", model="fake")
        public = await add_fallback(life.provider, confidentiality="public")
        model = await Model.objects.aget(is_default=True)
        done = await ask_once(life, model, {"role": "user", "content": "hello"}, fallbacks=[public.pk])
    assert (done.status, done.calls) == ("failed", 1)


async def test_a_breaker_open_from_the_start_leaves_one_row_of_the_model_that_was_called(living):
    async with living() as life:
        await add_fallback(life.provider)
        life.runtime.upstream_state.hold_open("fake", "fake")
        done = await life.answer("hello")
    [attempt] = [row async for row in Attempt.objects.filter(generation=done)]
    assert (attempt.model_name, attempt.outcome, done.calls) == ("fake:second", "completed", 1)
    assert (await logged(done.pk, events.Switched))[0].code == "breaker_open"


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


async def shown(life, generation_id, text):
    """Wait until this text is committed."""
    found = ""
    async for rows in life.log.follow(generation_id):
        found += fold(rows).text
        if found == text:
            return
