"""The ladder of policies between a question and an answer, from the top down:

    stream     the total time-out
    _routed    the route: which model is asked, and which one next when it fails
    _retrying  tries again what may succeed, within the budget, visibly
    _guarded   the breaker: asks nobody who is down; waits in line behind it
    _slotted   the endpoint's slots: waits in line for one, holds it for one call
    _called    one call: counted, judged for the breaker
    attempt    first-token and stall time-outs, what counts as a complete answer
    client     authentication, connections

A failure before the first delta is a retry; what follows from which error is a table in `errors.py`.

What the times cover. Waiting for a slot costs nobody their time: the total time-out stands still
meanwhile. Backing off (and `Retry-After`) may take 60 s in all. Waiting behind an open breaker is apart
from that, since no call is made and none is lost by it: it may take what is left of the total time-out.
An outage of a minute is outlasted this way by whoever still has a call left.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from chat import events
from chat.upstream import errors
from chat.upstream.admission import Priority
from chat.upstream.attempt import Prompt, Target, attempt
from chat.upstream.breaker import Breaker, Permit, State
from chat.upstream.client import Client
from chat.upstream.ladder import Ladder
from chat.upstream.steps import PromptFor, Retrying, Started, Steps, Switched

# Between a probe's own time-out and the moment it counts as lost.
PROBE_GRACE_S = 5.0
# How often people in line are told that it moved.
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how patiently a call is tried again. Seconds."""

    calls_per_target: int = 3
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 8.0
    retry_after_max_s: float = 60.0
    backoff_total_s: float = 60.0

    def backoff_s(self, retry: int, uniform: Callable[[float, float], float]) -> float:
        """Return the wait before retry number `retry` (1, 2, …): exponential, with full jitter."""
        return uniform(0.0, min(self.backoff_cap_s, self.backoff_first_s * 2 ** (retry - 1)))


@dataclass(slots=True)
class Budget:
    """Calls that may still be made for a generation, over all its processes."""

    calls_left: int = 8


async def stream(
    route: Sequence[Target],
    prompt: PromptFor,
    *,
    client: Client,
    ladder: Ladder,
    budget: Budget,
    policy: Policy = Policy(),
    priority: Priority = Priority.INTERACTIVE,
    user: Hashable = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Steps:
    """Yield what happens on the way to one answer, its last step `Finished`.

    `route`: the model to ask and its fallbacks, in order. `user`: with whom turns are taken in line.
    `Started` is yielded before each call is made, so that whoever consumes can count it first.
    Raises UpstreamError when it cannot be answered. Closing the iterator, or cancelling the task
    that reads it, closes the connection to the endpoint and leaves every line.
    """
    deadline_s = asyncio.get_running_loop().time() + route[0].timeouts.total_s
    asked = _Asked(
        list(route),
        prompt,
        client,
        ladder,
        budget,
        policy,
        priority,
        user,
        sleep,
        uniform,
        deadline_s,
        route[0],
    )
    async with aclosing(asked.routed()) as steps:
        async for step in steps:
            yield step


@dataclass(slots=True)
class _Asked:
    """One question on its way down the ladder."""

    # Who may still be asked, in order.
    left: list[Target]
    prompt: PromptFor
    client: Client
    ladder: Ladder
    budget: Budget
    policy: Policy
    priority: Priority
    user: Hashable
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[float, float], float]
    deadline_s: float
    # Who is being asked, and what went wrong last.
    current: Target
    error: errors.UpstreamError | None = None
    calls: Counter[Target] = field(default_factory=Counter)
    backed_off_s: float = 0.0
    has_text: bool = False

    # -- the route -----------------------------------------------------------------------------------

    async def routed(self) -> Steps:
        """Ask the first that may be asked; when it fails, the next that may do better."""
        while True:
            target = min(self.left, key=self._wait_s)
            try:
                async with aclosing(self._retrying(target)) as steps:
                    async for step in steps:
                        yield step
            except errors.UpstreamError as exc:
                self.error = exc
                exc.target = exc.target or target
                if self.has_text or not self._has_another_way(target, exc):
                    raise
            else:
                return

    def _wait_s(self, target: Target) -> float:
        return self.ladder.breaker(target).wait_s

    def _has_another_way(self, failed: Target, exc: errors.UpstreamError) -> bool:
        """Strike out whom it is useless to ask again; whether anybody is left that can be asked now."""
        if isinstance(exc, errors.BreakerOpen):
            is_other_way = any(self._wait_s(target) == 0 for target in self.left)
            return is_other_way or self._may_wait_for(self.ladder.breaker(failed))
        self.left.remove(failed)
        if isinstance(exc, errors.ContextTooLong):
            self.left = [target for target in self.left if target.context_tokens > failed.context_tokens]
        elif not exc.falls_over:
            return False
        return bool(self.left) and self.budget.calls_left > 0

    def _has_healthy_fallback(self, target: Target) -> bool:
        others = (self.ladder.breaker(other) for other in self.left if other is not target)
        return any(breaker.state is State.CLOSED for breaker in others)

    # -- trying again --------------------------------------------------------------------------------

    async def _retrying(self, target: Target) -> Steps:
        prompt = self.prompt(target, None)
        assert prompt is not None
        while True:
            try:
                async with aclosing(self._guarded(target, prompt)) as steps:
                    async for step in steps:
                        self.has_text = self.has_text or isinstance(step, events.Delta | events.Thinking)
                        yield step
            except errors.UpstreamError as exc:
                exc.target = target
                if self.has_text:
                    raise  # recovery takes its place here
                error = exc
            else:
                return
            shorter = self._shorter(target, prompt, error)
            wait_s = self._backoff_s(target, error) if shorter is None else 0.0
            prompt = shorter or prompt
            yield self._again(target, wait_s, error)
            if wait_s:
                self.backed_off_s += wait_s
                await self.sleep(wait_s)

    def _shorter(self, target: Target, prompt: Prompt, error: errors.UpstreamError) -> Prompt | None:
        if not isinstance(error, errors.ContextTooLong) or not self._calls_left(target):
            return None
        return self.prompt(target, error)

    def _calls_left(self, target: Target) -> int:
        return min(self.budget.calls_left, self.policy.calls_per_target - self.calls[target])

    def _backoff_s(self, target: Target, error: errors.UpstreamError) -> float:
        """Return how long to wait before asking the same model again; raises `error` if it shall not be."""
        is_silent = isinstance(error, errors.FirstTokenTimedOut)
        if not error.retryable or not self._calls_left(target):
            raise error
        if is_silent and self._has_healthy_fallback(target):
            raise error
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = self.policy.backoff_s(self.calls[target], self.uniform)
        is_too_long = (
            wait_s > self.policy.retry_after_max_s
            or self.backed_off_s + wait_s > self.policy.backoff_total_s
            or wait_s >= self._time_left_s()
        )
        if is_too_long:
            raise error
        return wait_s

    def _time_left_s(self) -> float:
        return self.deadline_s - asyncio.get_running_loop().time()

    def _again(self, target: Target, wait_s: float, error: errors.UpstreamError) -> Retrying:
        made = self.calls[target]
        return Retrying(made + 1, made + self._calls_left(target), wait_s, error)

    # -- the breaker ---------------------------------------------------------------------------------

    async def _guarded(self, target: Target, prompt: Prompt) -> Steps:
        """Ask with a permit of the breaker's; without one, wait in line for it, where that may help."""
        if not self._calls_left(target):
            raise errors.GaveUp("no calls left")
        breaker = self.ladder.breaker(target)
        permit = breaker.permit()
        while permit is None:
            error = errors.BreakerOpen(retry_after_s=self._soonest_s())
            if not self._may_wait_for(breaker):
                raise error
            yield self._again(target, breaker.wait_s, error)
            permit = breaker.permit() or await self._turn(breaker, target)
        try:
            if target is not self.current:
                yield self._switched(target)
            async with aclosing(self._slotted(target, prompt, breaker, permit)) as steps:
                async for step in steps:
                    yield step
        finally:
            breaker.withdrawn(permit)  # means nothing after a verdict

    def _switched(self, target: Target) -> Switched:
        error = self.error or errors.BreakerOpen("passed over")
        error.target = error.target or self.current
        self.current = target
        return Switched(target, error)

    def _may_wait_for(self, breaker: Breaker) -> bool:
        """Programs come again by themselves, and nobody waits while another model could answer."""
        is_other_way = any(self._wait_s(target) == 0 for target in self.left)
        return self.priority is not Priority.API and not is_other_way and breaker.wait_s < self._time_left_s()

    def _soonest_s(self) -> float | None:
        wait_s = min(map(self._wait_s, self.left))
        return None if wait_s == float("inf") else wait_s

    async def _turn(self, breaker: Breaker, target: Target) -> Permit | None:
        try:
            async with asyncio.timeout_at(self.deadline_s):
                return await breaker.turn(self.calls[target])
        except TimeoutError:
            raise errors.BreakerOpen(retry_after_s=self._soonest_s()) from None

    # -- the slot and the call -----------------------------------------------------------------------

    async def _slotted(self, target: Target, prompt: Prompt, breaker: Breaker, permit: Permit) -> Steps:
        """Ask with a slot of the endpoint's, and give it back before anybody waits for anything."""
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        place = self.ladder.admission(target).enter(self.priority, self.user)
        try:
            while not place.is_admitted:
                yield events.Queued(place.position)
                await place.moved(look_every_s=LOOK_EVERY_S)
            queued_s = loop.time() - since_s
            self.deadline_s += queued_s
            first_token_s = self._first_token_s(target)
            judged_within_s = first_token_s + target.timeouts.stall_s + PROBE_GRACE_S
            in_force = breaker.begin(permit, judged_within_s=judged_within_s)
            if in_force is None:
                raise errors.BreakerOpen("it opened meanwhile", retry_after_s=self._soonest_s())
            self.budget.calls_left -= 1
            self.calls[target] += 1
            yield Started(target, self.calls[target], queued_s)
            calling = self._called(target, prompt, breaker, in_force, first_token_s)
            async with aclosing(calling) as steps:
                async for step in steps:
                    yield step
        finally:
            place.leave()

    def _first_token_s(self, target: Target) -> float:
        limits = target.timeouts
        if self._has_healthy_fallback(target):
            return min(limits.first_token_s, limits.first_token_with_fallback_s)
        return limits.first_token_s

    async def _called(
        self, target: Target, prompt: Prompt, breaker: Breaker, permit: Permit, first_token_s: float
    ) -> Steps:
        is_judged = False
        calling = attempt(
            target, prompt, self.client, first_token_s=first_token_s, total_deadline=self.deadline_s
        )
        try:
            async with aclosing(calling) as steps:
                async for step in steps:
                    if not is_judged:
                        is_judged = True
                        breaker.succeeded(permit)
                    yield step
        except errors.UpstreamError as exc:
            if exc.counts_against:
                breaker.failed(permit)
            if isinstance(exc, errors.RateLimited) and exc.retry_after_s:
                self.ladder.admission(target).pause(exc.retry_after_s)
            raise
