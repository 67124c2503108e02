"""Routes, breakers, slots and pauses together, against a provider on a real socket."""

import asyncio
import time
from contextlib import aclosing, asynccontextmanager

import pytest

from chat import events, upstream
from chat.fakeprovider import FakeProvider
from chat.upstream import QueuePriority, errors
from chat.upstream.breaker import BreakerState
from tests.upstream.test_stream import PATIENT, saying

GOOD = "fake:good"


class Site:
    """A process that asks: its state, its client, and what one answer after the other gave."""

    def __init__(self, provider, **policy):
        self.provider, self.client = provider, upstream.Client()
        self.state = upstream.UpstreamState(upstream.BreakerPolicy(**({"open_s": 30.0} | policy)))

    def target(self, model, **fields):
        return upstream.Target(
            self.provider.base_url, "k", model, endpoint=model, **({"timeouts": PATIENT} | fields)
        )

    def steps(self, *targets, question="hello", prompt=None, budget=8, **more):
        targets = [self.target(each) if isinstance(each, str) else each for each in targets]
        return upstream.stream(
            targets,
            prompt or saying(question),
            client=self.client,
            state=self.state,
            budget=upstream.Budget(budget),
            sleep=lambda wait_s: asyncio.sleep(0),
            **more,
        )

    async def ask(self, *targets, **more):
        """Return the steps of an answer, and the error as the last one if it failed."""
        found = []
        try:
            async with aclosing(self.steps(*targets, **more)) as steps:
                async for step in steps:
                    found.append(step)  # noqa: PERF401 - what came before the error counts
        except errors.UpstreamError as exc:
            found.append(exc)
        return found

    async def break_(self, model):
        """Let a model fail until its breaker is open."""
        while self.state.breaker(self.target(model)).state is BreakerState.CLOSED:
            self.provider.script("status=503", model=model)
            await self.ask(model, budget=1)

    @property
    def asked(self):
        return [record.body["model"] for record in self.provider.requests]


@asynccontextmanager
async def site(**policy):
    async with FakeProvider() as provider:
        found = Site(provider, **policy)
        try:
            yield found
        finally:
            await found.client.close()


def of(steps, kind):
    return [step for step in steps if isinstance(step, kind)]


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
async def test_what_another_model_may_do_better_is_asked_of_it(model, kind, calls):
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
async def test_a_fault_of_the_question_is_not_routed_around(model, kind):
    async with site() as here:
        steps = await here.ask(model, GOOD)
        assert here.asked == [model]
    assert type(steps[-1]) is kind


async def test_too_long_a_prompt_goes_shorter_once_and_then_to_a_larger_model_only():
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


async def test_a_silent_model_is_asked_once_when_there_is_a_fallback_and_gets_less_patience():
    limits = upstream.Timeouts(first_token_s=20, first_token_with_fallback_s=0.3, stall_s=5, total_s=60)
    async with site() as here:
        began_s = time.monotonic()
        steps = await here.ask(here.target("fake-silent", timeouts=limits), GOOD)
        took_s = time.monotonic() - began_s
        assert here.asked == ["fake-silent", GOOD]
    assert type(of(steps, upstream.SwitchedStep)[0].error) is errors.FirstTokenTimedOut
    assert 0.3 <= took_s < 5


async def test_a_fallback_that_is_down_itself_buys_no_impatience():
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


# -- the breaker on the ladder ---------------------------------------------------------------------


async def test_an_open_breaker_means_the_fallback_at_once():
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
    # The best of five: what else this machine does at the moment is not the point.
    assert min(took_s) < 0.1


async def test_other_models_at_the_same_endpoint_are_not_affected():
    async with site() as here:
        await here.break_("fake")
        other = upstream.Target(here.provider.base_url, "k", "fake:other", endpoint="fake", timeouts=PATIENT)
        assert isinstance((await here.ask(other))[-1], upstream.Finished)


async def test_a_program_is_refused_and_told_when_to_come_again():
    async with site() as here:
        await here.break_("fake")
        calls = len(here.asked)
        steps = await here.ask("fake", priority=QueuePriority.API)
        assert len(here.asked) == calls
    assert isinstance(steps[-1], errors.BreakerOpen)
    assert 25 < steps[-1].retry_after_s <= 39


@pytest.mark.parametrize("priority", [QueuePriority.INTERACTIVE, QueuePriority.BULK])
async def test_others_wait_visibly_and_are_answered_once_it_is_back(priority):
    async with site(open_s=0.3, open_jitter=0) as here:
        await here.break_("fake")
        steps = await here.ask("fake", priority=priority)
    waiting = of(steps, upstream.RetryingStep)[0]
    assert (waiting.error.code, waiting.attempt, waiting.of) == ("breaker_open", 1, 3)
    assert 0 < waiting.wait_s <= 0.3
    assert isinstance(steps[-1], upstream.Finished)


async def test_nobody_waits_for_what_is_held_open_or_cannot_be_back_in_time():
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
    assert isinstance(late[-1], errors.BreakerOpen)


async def test_a_stop_counts_as_no_failure_and_a_stopped_probe_blocks_nobody():
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


# -- slots and pauses on the ladder ----------------------------------------------------------------


async def test_who_waits_for_a_slot_sees_the_position_and_makes_no_call():
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


async def test_who_is_stopped_in_line_leaves_no_trace():
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

        async def look(wait_s):
            seen.append(here.state.endpoints()[0].running)

        steps = upstream.stream(
            [one],
            saying("[[status=503 times=2]]"),
            client=here.client,
            state=here.state,
            budget=upstream.Budget(),
            sleep=look,
        )
        assert isinstance([step async for step in steps][-1], upstream.Finished)
    assert seen == [0, 0]


async def test_one_429_keeps_everybody_away_until_it_is_over():
    async with site() as here:
        first = await here.ask("fake", question="[[status=429 retry_after=1 times=1]]", budget=1)
        assert isinstance(first[-1], errors.RateLimited)
        asked_s = time.monotonic()
        await asyncio.gather(*[here.ask("fake", question=f"q{n}") for n in range(5)])
        gaps = [record.at_s - here.provider.requests[0].at_s for record in here.provider.requests[1:]]
    assert len(gaps) == 5
    assert time.monotonic() - asked_s < 3
    assert min(gaps) >= 0.99


async def test_a_full_line_is_a_reason_to_ask_another():
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
