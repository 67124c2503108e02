"""Routes against a provider on a real socket: when a fallback is called, and which one."""

import time

import pytest

from chat import upstream
from chat.upstream import errors
from tests.upstream.support import GOOD, of, site


@pytest.mark.parametrize(
    ("model", "kind", "calls"),
    [
        ("fake-status-401", errors.WrongKey, 1),
        ("fake-status-403", errors.Forbidden, 1),
        ("fake-status-404", errors.UnknownModel, 1),
        ("fake-quota", errors.QuotaExhausted, 1),
        ("fake-status-503-should-retry-false", errors.ServerFailed, 1),
        ("fake-status-503", errors.ServerFailed, 3),
        ("fake-status-429", errors.RateLimited, 3),
        ("fake-status-429-retry-after-3600", errors.RateLimited, 1),
        ("fake-reset-early", errors.Unreachable, 3),
        ("fake-html", errors.NotAStream, 3),
        ("fake-malformed-after-0", errors.Malformed, 3),
    ],
)
async def test_a_failure_of_the_model_falls_back_to_another_model(model, kind, calls):
    async with site() as here:
        steps = await here.ask(model, GOOD)
        assert here.asked == [model] * calls + [GOOD]
    [switched] = of(steps, upstream.SwitchedStep)
    assert type(switched.error) is kind
    assert (switched.error.target_key[1], switched.target.model) == (model, GOOD)
    assert steps[-1].target.model == GOOD


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("fake-status-400", errors.Rejected),
        ("fake-status-422", errors.Rejected),
        ("fake-filtered", errors.ContentFiltered),
        ("fake-tool-calls-2", errors.AnswerUnusable),
    ],
)
async def test_a_failure_of_the_request_does_not_fall_back(model, kind):
    async with site() as here:
        steps = await here.ask(model, GOOD)
        assert here.asked == [model]
    assert type(steps[-1]) is kind


@pytest.mark.parametrize(
    ("message", "is_first", "goes_on"),
    [
        ("m does not support tools", True, True),
        ("No endpoints found that support tool use", True, True),
        ("Invalid schema for function 'weather': missing 'type'", True, False),
        ("m does not support tools", False, True),
        ("Invalid schema for tools[0]", False, True),
        ("messages are wrong", False, False),
    ],
)
async def test_a_rejection_of_tools_ends_a_route_only_at_its_beginning(message, is_first, goes_on):
    async with site() as here:
        here.provider.script(f"status=400 message={message}", model="fake:1")
        route = ["fake:1", GOOD] if is_first else ["fake-status-401", "fake:1", GOOD]
        steps = await here.ask(*route)
    assert isinstance(steps[-1], upstream.Finished) is goes_on


async def test_too_long_a_prompt_is_shortened_once_and_then_sent_only_to_a_larger_model():
    question = "word " * 50
    shorter = upstream.Prompt([{"role": "user", "content": "word " * 20}])

    def prompt(target, *, refused, **_):
        if refused is None:
            return upstream.Prompt([{"role": "user", "content": question}])
        return shorter if target not in tried and not tried.add(target) else None

    async with site() as here:
        tried = set()
        route = [
            here.target("fake-context-10", context_tokens=10),
            here.target("fake:small", context_tokens=10),
            here.target("fake:large", context_tokens=100),
        ]
        steps = await here.ask(*route, prompt=prompt)
        assert here.asked == ["fake-context-10", "fake-context-10", "fake:large"]
    assert isinstance(steps[-1], upstream.Finished)
    [retrying] = of(steps, upstream.RetryingStep)
    assert (retrying.wait_s, retrying.error.code) == (0.0, "context_too_long")


@pytest.mark.parametrize(
    ("first", "second", "model", "is_tried"),
    [
        (None, None, "fake-status-413", True),
        (None, 5, "fake-status-413", True),
        (10, None, "fake-status-413", True),
        (10, 20, "fake-status-413", True),
        (10, 10, "fake-status-413", False),
        (20, 10, "fake-status-413", False),
        # The endpoint names the size of the first one, 10.
        (None, None, "fake-context-10", True),
        (None, 10, "fake-context-10", False),
        (None, 11, "fake-context-10", True),
        (16_000, 11, "fake-context-10", True),
        (5, 10, "fake-context-10", False),
    ],
)
async def test_a_prompt_that_is_too_long_goes_to_what_is_not_known_to_be_too_small(
    first, second, model, is_tried
):
    async with site() as here:
        route = [here.target(model, context_tokens=first), here.target(GOOD, context_tokens=second)]
        steps = await here.ask(*route, question="word " * 50)
        assert here.asked == ([model, GOOD] if is_tried else [model])
    assert type(steps[-1]) is (upstream.Finished if is_tried else errors.ContextTooLong)


async def test_a_silent_model_with_a_fallback_is_called_once_with_a_shorter_time_out():
    limits = upstream.Timeouts(first_token_s=20, first_token_with_fallback_s=0.3, stall_s=5, total_s=60)
    async with site() as here:
        began_s = time.monotonic()
        steps = await here.ask(here.target("fake-silent", timeouts=limits), GOOD)
        took_s = time.monotonic() - began_s
        assert here.asked == ["fake-silent", GOOD]
    assert type(of(steps, upstream.SwitchedStep)[0].error) is errors.FirstTokenTimedOut
    assert 0.3 <= took_s < 5


async def test_a_fallback_that_is_down_does_not_shorten_the_time_out():
    limits = upstream.Timeouts(first_token_s=0.5, first_token_with_fallback_s=0.01, stall_s=5, total_s=60)
    async with site() as here:
        await here.break_(GOOD)
        slow = here.target("fake-first-s-0.2", timeouts=limits)
        steps = await here.ask(slow, GOOD)
    assert steps[-1].target is slow


async def test_calls_are_bounded_over_the_whole_route():
    async with site() as here:
        models = [f"fake-status-500+rate-{n}" for n in range(1, 6)]
        steps = await here.ask(*models)
        assert here.asked == [models[0]] * 3 + [models[1]] * 3 + [models[2]] * 2
    assert isinstance(steps[-1], errors.ServerFailed)
    assert steps[-1].target_key[1] == models[2]
