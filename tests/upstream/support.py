"""What the tests of `upstream` share: a fake provider's answers, and what they leave on the screen."""

import asyncio
from collections import Counter
from contextlib import aclosing, asynccontextmanager

from chat import events, upstream
from chat.fakeprovider import FakeProvider
from chat.upstream import errors
from chat.upstream.breaker import BreakerState
from tests.support.clock import Clock

# Long enough for a request to arrive on a busy machine.
QUICK = upstream.Timeouts(connect_s=5, first_token_s=1.5, stall_s=0.5, total_s=60)
PATIENT = upstream.Timeouts(connect_s=5, first_token_s=20, stall_s=20, total_s=100)
DEFAULT_POLICY = upstream.Policy()
GOOD = "fake:good"


def shown(steps, kind):
    """Return the text of one kind that is displayed after the steps."""
    text = ""
    for step in steps:
        if isinstance(step, events.Restarted):
            text = ""
        elif isinstance(step, kind):
            text += step.text
    return text


def of(steps, kind):
    return [step for step in steps if isinstance(step, kind)]


def saying(question):
    """Return a prompt builder that has one prompt for all targets and no shorter one."""

    def prompt(target, *, partial, may_prefill, refused):
        messages = [{"role": "user", "content": question}]
        if partial:
            messages.append({"role": "assistant", "content": partial})
        return None if refused else upstream.Prompt(messages, prefill=partial)

    return prompt


class Outcome:
    """The steps of one answer, the error that ended it, and the waits between its calls."""

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


async def ask(
    question,
    *,
    timeouts=PATIENT,
    budget=8,
    recoveries=2,
    made=(),
    policy=DEFAULT_POLICY,
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
            async for step in upstream.stream(
                [upstream.Target(provider.base_url, "secret", model, timeouts=timeouts, **target)],
                saying(question),
                client=client,
                state=state or upstream.UpstreamState(clock=now),
                budget=upstream.CallBudget(budget, recoveries, Counter(made)),
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


async def consume(target, question="hello", *, client=None, sleep=asyncio.sleep):
    client = client or upstream.Client()
    steps = upstream.stream(
        [target],
        saying(question),
        client=client,
        state=upstream.UpstreamState(),
        budget=upstream.CallBudget(),
        sleep=sleep,
    )
    return [step async for step in steps]


class Site:
    """A process with its client and upstream state, and the provider that it calls."""

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
            budget=upstream.CallBudget(budget),
            sleep=lambda wait_s: asyncio.sleep(0),
            **more,
        )

    async def ask(self, *targets, **more):
        """Return the steps of an answer; if it failed, the error is the last item."""
        found = []
        try:
            async with aclosing(self.steps(*targets, **more)) as steps:
                async for step in steps:
                    found.append(step)  # noqa: PERF401 - the steps before the error are kept
        except errors.UpstreamError as exc:
            found.append(exc)
        return found

    async def break_(self, model):
        """Make calls to a model fail until its breaker is open."""
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
