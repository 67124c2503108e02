"""The state against a provider on a real socket: what counts as an answer, what is tried again."""

import asyncio
import random
from collections import Counter

import pytest

from chat import events, upstream
from chat.fakeprovider import FakeProvider
from chat.text import clean
from chat.upstream import errors
from chat.upstream.stream import stream
from tests.support.clock import Clock

# Long enough for a request to arrive on a machine that is busy with other things.
QUICK = upstream.Timeouts(connect_s=5, first_token_s=1.5, stall_s=0.5, total_s=60)
COMPLETE = upstream.Policy()
PATIENT = upstream.Timeouts(connect_s=5, first_token_s=20, stall_s=20, total_s=100)


class Outcome:
    """What one answer gave: its steps, the error that ended it, the waits that were asked for."""

    def __init__(self, partial=""):
        self.steps, self.waits, self.error, self.provider, self.partial = [], [], None, None, partial

    @property
    def text(self):
        return shown(self.steps, events.Delta)

    @property
    def thinking(self):
        return shown(self.steps, events.Thinking)

    async def text_so_far(self):
        return self.partial + self.text

    def of(self, kind):
        return [step for step in self.steps if isinstance(step, kind)]

    @property
    def finished(self):
        return next((step for step in self.steps if isinstance(step, upstream.Finished)), None)


def shown(steps, kind):
    """Return what the steps leave on the screens, of one kind of text."""
    text = ""
    for step in steps:
        if isinstance(step, events.Restarted):
            text = ""
        elif isinstance(step, kind):
            text += step.text
    return text


async def ask(
    question,
    *,
    timeouts=PATIENT,
    budget=8,
    recoveries=2,
    made=(),
    policy=COMPLETE,
    state=None,
    partial="",
    model="fake",
    key="",
    **target,
):
    outcome = Outcome(partial)

    now = Clock()

    async def note(wait_s):
        outcome.waits.append(wait_s)
        now.skip(wait_s)

    async with FakeProvider(key=key) as provider:
        client = upstream.Client()
        outcome.provider = provider
        try:
            async for step in stream(
                [upstream.Target(provider.base_url, "secret", model, timeouts=timeouts, **target)],
                saying(question),
                client=client,
                state=state or upstream.UpstreamState(clock=now),
                budget=upstream.Budget(budget, recoveries, Counter(made)),
                text_so_far=outcome.text_so_far,
                policy=policy,
                sleep=note,
                uniform=lambda low, high: high,
            ):
                outcome.steps.append(step)
        except errors.UpstreamError as exc:
            outcome.error = exc
        finally:
            await client.close()
        outcome.calls = len(provider.requests)
        outcome.prefills = [record.prefill for record in provider.requests]
        outcome.full_text = provider.text_for(question)
    return outcome


WHOLE = [
    "plain",
    "crlf [[crlf]]",
    "comments [[comments no_choices null_content]]",
    "bytes [[segment=1 deltas=20]]",
    "split [[split deltas=200]]",
    "ascii [[ascii split deltas=200]]",
    "pairs [[split_pairs ascii deltas=300]]",
    "joined [[join=50 deltas=200]]",
    "huge [[deltas=1 chars=1048576]]",
    "long [[deltas=20000 rate=0]]",
    "no done [[no_done]]",
    "usage inside [[usage=inline]]",
    "no usage [[usage=never]]",
    "to the end of the connection [[close_delimited]]",
]


@pytest.mark.parametrize("question", WHOLE)
async def test_every_form_of_a_whole_answer_gives_its_exact_text(question):
    outcome = await ask(question)
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    assert outcome.finished.reason == "stop"
    assert outcome.calls == 1


async def test_nul_is_taken_out_and_nothing_else_is_touched():
    outcome = await ask("nul [[nul deltas=50]]")
    assert outcome.error is None
    assert outcome.text == clean(outcome.full_text)


async def test_a_lone_surrogate_becomes_a_replacement_character_and_nothing_else_is_touched():
    outcome = await ask("lone [[lone deltas=50]]")
    assert outcome.error is None
    assert outcome.text.count("\N{REPLACEMENT CHARACTER}") == 5
    assert outcome.text.replace("\N{REPLACEMENT CHARACTER}", "") == outcome.full_text


async def test_reasoning_comes_apart_from_the_answer():
    outcome = await ask("think [[reasoning=20 deltas=10]]")
    assert outcome.thinking
    assert outcome.text == outcome.full_text


async def test_usage_is_what_the_endpoint_counted():
    outcome = await ask("count [[deltas=10]]")
    assert outcome.finished.usage.completion_tokens > 0
    assert (await ask("count [[usage=never]]")).finished.usage is None


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_finish_reason_is_passed_on(reason):
    assert (await ask(f"[[finish={reason}]]")).finished.reason == reason


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut after=5", errors.Cut),
        ("drop after=5", errors.Cut),
        ("reset after=5", errors.Cut),
        ("cut after=end", errors.Cut),
        ("finish=none", errors.Cut),
        ("malformed after=5", errors.Malformed),
        ("error after=5", errors.StreamedError),
        ("event_error after=5", errors.StreamedError),
        ("stall after=5", errors.Stalled),
        ("stall after=5 keepalive_s=0.05", errors.Stalled),
    ],
)
async def test_a_cut_answer_is_never_complete(fault, kind):
    outcome = await ask(f"[[{fault}]]", timeouts=QUICK, recoveries=0)
    assert type(outcome.error) is kind
    assert outcome.finished is None
    assert outcome.text
    assert outcome.full_text.startswith(outcome.text)
    assert outcome.calls == 1


async def test_done_without_a_finish_reason_is_complete_only_where_the_endpoint_is_marked_so():
    assert isinstance((await ask("[[finish=none]]")).error, errors.Cut)
    assert (await ask("[[finish=none]]", finish_reason_optional=True)).error is None
    assert isinstance((await ask("[[cut after=end]]", finish_reason_optional=True)).error, errors.Cut)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status=500", errors.ServerFailed),
        ("status=502 body=html", errors.ServerFailed),
        ("status=503 body=empty", errors.ServerFailed),
        ("status=504", errors.ServerFailed),
        ("status=529", errors.ServerFailed),
        ("status=408", errors.ServerFailed),
        ("status=409", errors.ServerFailed),
        ("status=429", errors.RateLimited),
        ("reset_early", errors.Unreachable),
        ("close_early", errors.Unreachable),
        ("garbage", errors.Unreachable),
        ("empty", errors.NotAStream),
        ("html", errors.NotAStream),
        ("unstreamed", errors.NotAStream),
        ("cut after=0", errors.NotAStream),
        ("malformed after=0", errors.Malformed),
        ("silent", errors.FirstTokenTimedOut),
    ],
)
async def test_what_may_succeed_is_tried_three_times(fault, kind):
    outcome = await ask(f"[[{fault}]]", timeouts=QUICK if fault == "silent" else PATIENT)
    assert type(outcome.error) is kind
    assert outcome.calls == 3
    assert outcome.waits == [0.5, 1.0]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status=400", errors.Rejected),
        ("status=401", errors.WrongKey),
        ("status=403", errors.Forbidden),
        ("status=404", errors.UnknownModel),
        ("status=413", errors.ContextTooLong),
        ("status=422", errors.Rejected),
        ("quota", errors.QuotaExhausted),
        ("filtered", errors.ContentFiltered),
        ("status=503 should_retry=false", errors.ServerFailed),
        ("status=400 code=context_length_exceeded", errors.ContextTooLong),
        ("status=400 code=400 type=exceed_context_size_error", errors.ContextTooLong),
        ("tool_calls=2 finish=tool_calls", errors.AnswerUnusable),
    ],
)
async def test_what_cannot_succeed_is_asked_once(fault, kind):
    outcome = await ask(f"[[{fault}]]")
    assert type(outcome.error) is kind
    assert outcome.calls == 1
    assert outcome.waits == []


async def test_a_retry_that_succeeds_gives_the_whole_answer():
    outcome = await ask("again [[status=503 times=2]]")
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    kinds = [type(step).__name__ for step in outcome.steps if not isinstance(step, events.Delta)]
    assert kinds == ["StartedStep", "RetryingStep", "StartedStep", "RetryingStep", "StartedStep", "Finished"]


@pytest.mark.parametrize("header", ["retry_after=7", "retry_after_ms=7000"])
async def test_retry_waits_as_long_as_retry_after_says(header):
    outcome = await ask(f"[[status=429 {header} times=1]]")
    assert outcome.waits == [7.0]


async def test_retry_waits_until_the_date_that_retry_after_names():
    outcome = await ask("[[status=429 retry_after_date=30 times=1]]")
    assert 28 <= outcome.waits[0] <= 31


@pytest.mark.parametrize("value", ["3600", "1e12"])
async def test_a_wait_longer_than_a_minute_is_not_waited(value):
    outcome = await ask(f"[[status=429 retry_after={value}]]")
    assert isinstance(outcome.error, errors.RateLimited)
    assert outcome.calls == 1
    assert outcome.error.retry_after_s == float(value)


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf"])
async def test_an_absurd_retry_after_counts_as_none(value):
    assert (await ask(f"[[status=429 retry_after={value} times=1]]")).waits == [0.5]


async def test_calls_are_not_made_while_the_total_time_runs_out():
    limits = upstream.Timeouts(first_token_s=5, stall_s=5, total_s=3)
    outcome = await ask("[[status=429 retry_after=7]]", timeouts=limits)
    assert isinstance(outcome.error, errors.RateLimited)
    assert outcome.calls == 1


async def test_the_gaps_between_attempts_differ():
    gaps = {upstream.Policy().backoff_s(1, random.uniform) for _n in range(20)}
    assert len(gaps) == 20


async def test_the_budget_bounds_the_calls():
    assert (await ask("[[status=503]]", budget=2)).calls == 2
    nothing_left = await ask("[[status=503]]", budget=0)
    assert isinstance(nothing_left.error, errors.GaveUp)
    assert nothing_left.calls == 0


def test_backoff_doubles_up_to_its_cap_and_is_jittered_over_its_whole_range():
    policy = upstream.Policy()
    assert [policy.backoff_s(n, lambda low, high: high) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert policy.backoff_s(5, lambda low, high: low) == 0


async def test_a_long_think_is_not_a_stall():
    outcome = await ask("[[reasoning=12 rate=20 deltas=2]]", timeouts=QUICK)
    assert outcome.error is None
    assert outcome.text == outcome.full_text


async def test_the_total_time_out_ends_an_answer_that_never_stalls():
    limits = upstream.Timeouts(first_token_s=5, stall_s=5, total_s=0.4)
    outcome = await ask("[[deltas=1000 rate=20]]", timeouts=limits)
    assert isinstance(outcome.error, errors.TotalTimedOut)
    assert outcome.text


async def test_a_dead_endpoint_is_unreachable():
    target = upstream.Target("http://127.0.0.1:9/v1", "", "m", timeouts=QUICK)
    with pytest.raises(errors.Unreachable):
        await consume(target, sleep=lambda wait_s: asyncio.sleep(0))


async def test_a_stop_is_seen_by_the_provider():
    async with FakeProvider() as provider:
        client = upstream.Client()
        target = upstream.Target(provider.base_url, "k", "fake", timeouts=PATIENT)
        task = asyncio.create_task(consume(target, "[[hold=gate after=3]]", client=client))
        record = await provider.wait_held("gate")
        task.cancel()
        await asyncio.wait({task})
        left = await provider.wait_for(lambda each: each.left_s is not None)
        assert left is record
        await client.close()


async def test_the_key_is_redacted_from_what_the_endpoint_said():
    outcome = await ask("[[status=401 message=Incorrect API key provided: sk-abcdef123456]]", key="")
    assert "abcdef" not in str(outcome.error)
    outcome = await ask("[[status=400 message=you sent secret]]")
    assert "secret" not in outcome.error.detail


async def consume(target, question="hello", *, client=None, sleep=asyncio.sleep):
    client = client or upstream.Client()
    steps = stream(
        [target],
        saying(question),
        client=client,
        state=upstream.UpstreamState(),
        budget=upstream.Budget(),
        sleep=sleep,
    )
    return [step async for step in steps]


def saying(question):
    """Return what gives a prompt, the same to everybody, and none that is shorter."""

    def prompt(target, *, partial, may_prefill, refused):
        messages = [{"role": "user", "content": question}]
        if partial:
            messages.append({"role": "assistant", "content": partial})
        return None if refused else upstream.Prompt(messages, prefill=partial)

    return prompt
