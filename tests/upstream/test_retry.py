"""Retries against a provider on a real socket: which failures are retried, when and how often."""

import random

import pytest

from chat import events, upstream
from chat.upstream import errors
from tests.upstream.support import PATIENT, QUICK, ask


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
        ("cut after=0", errors.NotAStream),
        ("malformed after=0", errors.Malformed),
        ("silent", errors.FirstTokenTimedOut),
    ],
)
async def test_temporary_failures_are_called_three_times(fault, kind):
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
async def test_permanent_failures_are_called_once(fault, kind):
    outcome = await ask(f"[[{fault}]]")
    assert type(outcome.error) is kind
    assert outcome.calls == 1
    assert outcome.waits == []


async def test_a_successful_retry_gives_the_whole_answer():
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
async def test_a_retry_after_of_more_than_a_minute_is_not_waited_for(value):
    outcome = await ask(f"[[status=429 retry_after={value}]]")
    assert isinstance(outcome.error, errors.RateLimited)
    assert outcome.calls == 1
    assert outcome.error.retry_after_s == float(value)


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf"])
async def test_an_invalid_retry_after_is_ignored(value):
    assert (await ask(f"[[status=429 retry_after={value} times=1]]")).waits == [0.5]


async def test_a_wait_beyond_the_total_time_out_fails_at_once():
    limits = upstream.Timeouts(first_token_s=5, stall_s=5, total_s=3)
    outcome = await ask("[[status=429 retry_after=7]]", timeouts=limits)
    assert isinstance(outcome.error, errors.RateLimited)
    assert outcome.calls == 1


async def test_the_waits_between_calls_are_random():
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
