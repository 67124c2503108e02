"""Breakers, slots and pauses on the way to an answer, against a provider on a real socket."""

import asyncio
import time
from contextlib import aclosing

import pytest

from chat import events, upstream
from chat.upstream import QueuePriority, errors
from chat.upstream.breaker import BreakerState
from tests.upstream.support import GOOD, PATIENT, of, saying, site

# -- breakers --------------------------------------------------------------------------------------


async def test_an_open_breaker_switches_to_the_fallback_at_once():
    async with site() as here:
        await here.ask(GOOD)
        await here.break_("fake")
        calls = len(here.asked)
        took_s = []
        for n in range(5):
            began_s = time.monotonic()
            async with aclosing(here.steps("fake", GOOD, question=f"[[rate=0]] {n}")) as steps:
                kinds = []
                async for step in steps:
                    kinds.append(type(step).__name__)
                    if isinstance(step, upstream.SwitchedStep):
                        assert (step.error.code, step.error.target_key[1]) == ("breaker_open", "fake")
                    if isinstance(step, events.Delta):
                        break
            took_s.append(time.monotonic() - began_s)
            assert kinds == ["SwitchedStep", "StartedStep", "Delta"]
        assert here.asked[calls:] == [GOOD] * 5
    # The best of five, since other work on the machine must not fail the test.
    assert min(took_s) < 0.1


async def test_other_models_at_the_same_endpoint_are_not_affected():
    async with site() as here:
        await here.break_("fake")
        other = upstream.Target(here.provider.base_url, "k", "fake:other", endpoint="fake", timeouts=PATIENT)
        assert isinstance((await here.ask(other))[-1], upstream.Finished)


async def test_an_api_call_fails_with_a_retry_after():
    async with site() as here:
        await here.break_("fake")
        calls = len(here.asked)
        steps = await here.ask("fake", priority=QueuePriority.API)
        assert len(here.asked) == calls
    assert isinstance(steps[-1], errors.BreakerOpen)
    assert 25 < steps[-1].retry_after_s <= 39


@pytest.mark.parametrize("priority", [QueuePriority.INTERACTIVE, QueuePriority.BULK])
async def test_other_calls_wait_visibly_and_are_answered_once_the_model_is_back(priority):
    async with site(open_s=0.3, open_jitter=0) as here:
        await here.break_("fake")
        steps = await here.ask("fake", priority=priority)
    waiting = of(steps, upstream.RetryingStep)[0]
    assert (waiting.error.code, waiting.attempt, waiting.of) == ("breaker_open", 1, 3)
    assert 0 < waiting.wait_s <= 0.3
    assert isinstance(steps[-1], upstream.Finished)


async def test_no_call_waits_for_a_breaker_that_is_held_open_or_stays_open_too_long():
    short = upstream.Timeouts(total_s=5)
    async with site() as here:
        here.state.hold_open("fake", "fake")
        held = await here.ask("fake")
        assert here.asked == []
        here.state.close("fake", "fake")
        assert isinstance((await here.ask("fake"))[-1], upstream.Finished)
        await here.break_("fake")
        late = await here.ask(here.target("fake", timeouts=short))
    assert (type(held[-1]), held[-1].retry_after_s) == (errors.BreakerOpen, None)
    assert "switched off" in held[-1].texts[0]
    assert "switched off" not in late[-1].texts[0]


async def test_a_stop_is_not_a_failure_and_a_stopped_probe_blocks_no_call():
    async with site(open_s=0.1, open_jitter=0) as here:
        for n in range(6):
            task = asyncio.create_task(here.ask("fake", question=f"[[hold=gate{n} after=0]]"))
            await here.provider.wait_held(f"gate{n}")
            task.cancel()
            await asyncio.wait({task})
        assert here.state.breakers()[0].state is BreakerState.CLOSED
        await here.break_("fake")
        probe = asyncio.create_task(here.ask("fake", question="[[hold=probe after=0]]"))
        await here.provider.wait_held("probe")
        assert here.state.breakers()[0].state is BreakerState.HALF_OPEN
        probe.cancel()
        await asyncio.wait({probe})
        assert isinstance((await here.ask("fake"))[-1], upstream.Finished)
        assert here.state.endpoints()[0].running == 0


# -- slots and pauses ------------------------------------------------------------------------------


async def test_an_answer_that_waits_for_a_slot_shows_its_position_and_makes_no_call():
    async with site() as here:
        one = here.target("fake", slots=1)
        holder = asyncio.create_task(here.ask(one, question="[[hold=gate after=0]]"))
        await here.provider.wait_held("gate")
        steps = here.steps(one, question="second")
        assert await anext(steps) == events.Queued(1)
        assert len(here.asked) == 1
        here.provider.release("gate")
        rest = [step async for step in steps]
        await holder
        assert isinstance(rest[0], upstream.StartedStep)
        assert rest[0].queued_s > 0
        assert isinstance(rest[-1], upstream.Finished)


async def test_an_answer_stopped_in_the_queue_leaves_nothing_behind():
    async with site() as here:
        one = here.target("fake", slots=1)
        holder = asyncio.create_task(here.ask(one, question="[[hold=gate after=0]]"))
        await here.provider.wait_held("gate")
        second = asyncio.create_task(here.ask(one, question="second"))
        await asyncio.sleep(0.01)
        assert here.state.endpoints()[0].waiting["interactive"] == 1
        second.cancel()
        await asyncio.wait({second})
        assert here.state.endpoints()[0].waiting["interactive"] == 0
        holder.cancel()
        await asyncio.wait({holder})
        assert here.state.endpoints()[0].running == 0
        assert len(here.asked) == 1


async def test_no_slot_is_held_while_backing_off():
    async with site() as here:
        one, seen = here.target("fake", slots=1), []

        async def record_running(wait_s):
            seen.append(here.state.endpoints()[0].running)

        steps = upstream.stream(
            [one],
            saying("[[status=503 times=2]]"),
            client=here.client,
            state=here.state,
            budget=upstream.CallBudget(),
            sleep=record_running,
        )
        assert isinstance([step async for step in steps][-1], upstream.Finished)
    assert seen == [0, 0]


async def test_a_429_pauses_all_calls_until_its_retry_after():
    async with site() as here:
        first = await here.ask("fake", question="[[status=429 retry_after=1 times=1]]", budget=1)
        assert isinstance(first[-1], errors.RateLimited)
        asked_s = time.monotonic()
        await asyncio.gather(*[here.ask("fake", question=f"q{n}") for n in range(5)])
        gaps = [record.at_s - here.provider.requests[0].at_s for record in here.provider.requests[1:]]
    assert len(gaps) == 5
    assert time.monotonic() - asked_s < 3
    assert min(gaps) >= 0.99


async def test_a_full_queue_switches_to_the_fallback():
    async with site() as here:
        here.state.waiting_max = 0
        one = here.target("fake", slots=1)
        holder = asyncio.create_task(here.ask(one, question="[[hold=gate after=0]]"))
        await here.provider.wait_held("gate")
        refused = await here.ask(one)
        answered = await here.ask(one, GOOD)
        holder.cancel()
        await asyncio.wait({holder})
    assert isinstance(refused[-1], errors.QueueFull)
    assert isinstance(of(answered, upstream.SwitchedStep)[0].error, errors.QueueFull)
    assert answered[-1].target.model == GOOD
