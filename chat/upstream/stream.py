"""The ladder of policies between a question and an answer, from the top down:

    stream     the total time-out
    _routed    the route: which model is asked, and which one next when it fails
    _retrying  tries again what may succeed, and recovers what was cut, within the budget, visibly
    _guarded   the breaker: asks nobody who is down; waits in line behind it
    _slotted   the endpoint's slots: waits in line for one, holds it for one call
    _called    one call: counted, judged for the breaker
    attempt    first-token and stall time-outs, what counts as a complete answer
    client     authentication, connections

A failure before the first delta of a call is followed by a retry; what follows from which error is a
table in `errors.py`. A failure after it is followed by a recovery, if the error is one that may pass: the
next call continues the text or begins it anew (`seam.py`). A recovery stays with its model, but goes on
along the route when that model stalled, when the next one can continue and it cannot, and with the last
recovery that the budget has.

What the times cover. Waiting for a slot costs nobody their time: the total time-out stands still
meanwhile. Backing off (and `Retry-After`) may take 60 s in all. Waiting behind an open breaker is apart
from that, since no call is made and none is lost by it: it may take what is left of the total time-out.
An outage of a minute is outlasted this way by whoever still has a call left.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from chat import events
from chat.upstream import errors
from chat.upstream.admission import QueuePriority
from chat.upstream.breaker import Breaker, BreakerState, Permit
from chat.upstream.call import attempt
from chat.upstream.client import Client
from chat.upstream.splice import CONTINUE_MIN_CHARS, Seam
from chat.upstream.state import UpstreamState
from chat.upstream.steps import ContinuedStep, PromptFor, RetryingStep, StartedStep, Step, Steps, SwitchedStep
from chat.upstream.types import Prompt, Recovery, Target, TargetKey

logger = logging.getLogger(__name__)

# Between a probe's own time-out and the moment it counts as lost.
PROBE_GRACE_S = 5.0
# How often people in line are told that it moved.
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how patiently a call is tried again. Seconds.

    `recoveries`: how a cut answer may go on; empty: it keeps the text it has.
    """

    calls_per_target: int = 3
    recoveries: frozenset[Recovery] = frozenset(Recovery)
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 8.0
    retry_after_max_s: float = 60.0
    backoff_total_s: float = 60.0

    def backoff_s(self, retry: int, uniform: Callable[[float, float], float]) -> float:
        """Return the wait before retry number `retry` (1, 2, …): exponential, with full jitter."""
        return uniform(0.0, min(self.backoff_cap_s, self.backoff_first_s * 2 ** (retry - 1)))


@dataclass(slots=True)
class Budget:
    """What may still be done for a generation, over all its processes; counted down by `stream`.

    `calls_made`: calls by target, see `Target.key`. A recovery is counted when its first call is made.
    """

    calls_left: int = 8
    recoveries_left: int = 2
    calls_made: Counter[TargetKey] = field(default_factory=Counter)


async def _nothing() -> str:
    return ""


async def stream(
    route: Sequence[Target],
    prompt: PromptFor,
    *,
    client: Client,
    state: UpstreamState,
    budget: Budget,
    text_so_far: Callable[[], Awaitable[str]] = _nothing,
    policy: Policy = Policy(),
    priority: QueuePriority = QueuePriority.INTERACTIVE,
    user: Hashable = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Steps:
    """Yield what happens on the way to one answer, its last step `Finished`.

    `route`: the model to ask and its fallbacks, in order. `user`: with whom turns are taken in line.
    `text_so_far`: returns the text of this answer up to the last step that was yielded. If there is some
    before the first one, a process died over it: the answer is recovered.
    `StartedStep` is yielded before each call is made, so that whoever consumes can count it first.
    Raises UpstreamError when it cannot be answered. Closing the iterator, or cancelling the task
    that reads it, closes the connection to the endpoint and leaves every line.
    """
    deadline_s = asyncio.get_running_loop().time() + route[0].timeouts.total_s
    asked = _Asked(
        list(route),
        prompt,
        client,
        state,
        budget,
        text_so_far,
        policy,
        priority,
        user,
        sleep,
        uniform,
        deadline_s,
        route[0],
    )
    async with aclosing(asked.answer()) as steps:
        async for step in steps:
            yield step


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one call sends, and how it goes on after the text that is on the screens, if there is some."""

    prompt: Prompt
    recovery: Recovery | None = None
    before: str = ""


@dataclass(slots=True)
class _Asked:
    """One question on its way down the ladder."""

    # Who may still be asked, in order.
    left: list[Target]
    prompt: PromptFor
    client: Client
    state: UpstreamState
    budget: Budget
    text_so_far: Callable[[], Awaitable[str]]
    policy: Policy
    priority: QueuePriority
    user: Hashable
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[float, float], float]
    deadline_s: float
    # Who is being asked, and what went wrong last.
    current: Target
    error: errors.UpstreamError | None = None
    backed_off_s: float = 0.0
    # What is on the screens.
    has_text: bool = False
    has_thinking: bool = False
    # What cut the text short, until a call has gone on from there.
    cut_by: errors.UpstreamError | None = None
    # Whether the last failure came after the first delta of its call.
    is_cut: bool = False
    # Whether nothing more is to be tried.
    is_over: bool = False

    async def answer(self) -> Steps:
        """Ask; first of all recover what a dead process has left."""
        self.has_text = bool(await self.text_so_far())
        if self.has_text:
            self._allow_recovery(errors.ProcessLost())
        async with aclosing(self._routed()) as steps:
            async for step in steps:
                yield step

    # -- the route -----------------------------------------------------------------------------------

    async def _routed(self) -> Steps:
        """Ask the first that may be asked; when it fails, the next that may do better."""
        while True:
            target = min(self.left, key=self._rank)
            try:
                async with aclosing(self._retrying(target)) as steps:
                    async for step in steps:
                        yield step
            except errors.UpstreamError as exc:
                self.error = exc
                exc.target_key = exc.target_key or target.key
                if self.is_over or not self._has_another_way(target, exc):
                    raise
            else:
                return

    def _rank(self, target: Target) -> tuple[float, bool]:
        """Return what sorts whom to ask: who can be asked soonest, then who can keep the text."""
        return self._wait_s(target), self.has_text and not self._continues(target)

    def _wait_s(self, target: Target) -> float:
        return self.state.breaker(target).wait_s

    def _has_another_way(self, failed: Target, exc: errors.UpstreamError) -> bool:
        """Strike out whom it is useless to ask again; whether anybody is left that can be asked now."""
        if isinstance(exc, errors.BreakerOpen):
            is_other_way = any(self._wait_s(target) == 0 for target in self.left)
            return is_other_way or self._may_wait_for(self.state.breaker(failed))
        self.left = [target for target in self.left if target is not failed]
        if isinstance(exc, errors.ContextTooLong):
            self.left = [target for target in self.left if target.context_tokens > failed.context_tokens]
        elif not exc.falls_over:
            return False
        return bool(self.left) and self.budget.calls_left > 0

    def _healthy_fallbacks(self, target: Target) -> list[Target]:
        others = (other for other in self.left if other is not target)
        return [other for other in others if self.state.breaker(other).state is BreakerState.CLOSED]

    # -- trying again --------------------------------------------------------------------------------

    async def _retrying(self, target: Target) -> Steps:
        plan = await self._plan(target)
        while True:
            if self.has_thinking and not self.has_text and self.error is not None:
                yield self._noted(events.Restarted(self.error.code))  # nobody can go on from half a thought
            self.is_cut = False
            try:
                async with aclosing(self._guarded(target, plan)) as steps:
                    async for step in steps:
                        yield self._noted(step)
            except errors.UpstreamError as exc:
                exc.target_key = target.key
                self.error = error = exc
            else:
                return
            plan, wait_s = await self._next(target, plan, error)
            yield self._again(target, wait_s, error)
            if wait_s:
                self.backed_off_s += wait_s
                await self.sleep(wait_s)

    async def _next(self, target: Target, plan: _Plan, error: errors.UpstreamError) -> tuple[_Plan, float]:
        """Return what to send to the same model next, and after how many seconds.

        Raises `error` if that model is not to be asked again.
        """
        if self.is_cut:
            self._allow_recovery(error)
            if self._is_better_elsewhere(target, error):
                raise error
            wait_s = self._backoff_s(target, error)
            return await self._plan(target), wait_s
        if self._calls_left(target):
            if plan.prompt.prefill and type(error) is errors.Rejected:
                logger.warning("%s does not continue a partial answer: %s", target.model, error)
                self.state.without_prefill.add(target.key)
                return await self._plan(target), 0.0
            if isinstance(error, errors.ContextTooLong) and (shorter := self._prompt(target, plan, error)):
                return replace(plan, prompt=shorter), 0.0
        return plan, self._backoff_s(target, error)

    def _noted(self, step: Step) -> Step:
        """Keep in mind what is on the screens."""
        match step:
            case events.Delta():
                self.has_text = True
            case events.Thinking():
                self.has_thinking = True
            case events.Restarted():
                self.has_text = self.has_thinking = False
        return step

    # -- recovery ------------------------------------------------------------------------------------

    def _allow_recovery(self, error: errors.UpstreamError) -> None:
        """Take one recovery off the budget. Raises `error` if the text is to be kept as it is."""
        able = [target for target in self.left if self._recovery_at(target) is not None]
        if not (error.retryable and able and self.budget.recoveries_left > 0 and self.budget.calls_left > 0):
            self.is_over = True
            raise error
        self.left = able
        self.budget.recoveries_left -= 1
        self.cut_by = error

    def _recovery_at(self, target: Target, chars: int = CONTINUE_MIN_CHARS) -> Recovery | None:
        """Return how a target may go on after a text of so many characters; None if it may not."""
        allowed = self.policy.recoveries
        may_restart = Recovery.RESTART in allowed
        is_enough = chars >= CONTINUE_MIN_CHARS or not may_restart
        if Recovery.CONTINUE in allowed and self._continues(target) and is_enough:
            return Recovery.CONTINUE
        return Recovery.RESTART if may_restart else None

    def _continues(self, target: Target) -> bool:
        return target.continues and target.key not in self.state.without_prefill

    def _is_better_elsewhere(self, target: Target, error: errors.UpstreamError) -> bool:
        others = self._healthy_fallbacks(target)
        can_keep_text = any(map(self._continues, others)) and not self._continues(target)
        is_last = not self.budget.recoveries_left
        return bool(others) and (can_keep_text or is_last or isinstance(error, errors.Stalled))

    async def _plan(self, target: Target) -> _Plan:
        """Return what to send to a target now. Raises what cut the text if it cannot go on from there."""
        before = await self.text_so_far() if self.has_text else ""
        recovery = self._recovery_at(target, len(before)) if before else None
        if before and recovery is None:
            assert self.cut_by is not None
            raise self.cut_by
        plan = _Plan(Prompt([]), recovery, before)
        prompt = self._prompt(target, plan)
        assert prompt is not None
        return replace(plan, prompt=prompt)

    def _seam(self, plan: _Plan) -> Seam | None:
        """Return where a call joins what it was sent, or what is on the screens."""
        if plan.recovery is Recovery.RESTART and self.cut_by is not None:
            return Seam(plan.before, Recovery.RESTART, self.cut_by.code)
        if len(plan.prompt.prefill) >= CONTINUE_MIN_CHARS:
            return Seam(plan.prompt.prefill, Recovery.CONTINUE)
        return None

    def _prompt(
        self, target: Target, plan: _Plan, refused: errors.ContextTooLong | None = None
    ) -> Prompt | None:
        partial = plan.before if plan.recovery is Recovery.CONTINUE else ""
        return self.prompt(target, partial=partial, may_prefill=self._continues(target), refused=refused)

    def _calls_left(self, target: Target) -> int:
        return min(self.budget.calls_left, self.policy.calls_per_target - self.budget.calls_made[target.key])

    def _backoff_s(self, target: Target, error: errors.UpstreamError) -> float:
        """Return how long to wait before asking the same model again; raises `error` if it shall not be."""
        is_silent = isinstance(error, errors.FirstTokenTimedOut)
        if not error.retryable or not self._calls_left(target):
            raise error
        if is_silent and self._healthy_fallbacks(target):
            raise error
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = self.policy.backoff_s(self.budget.calls_made[target.key], self.uniform)
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

    def _again(self, target: Target, wait_s: float, error: errors.UpstreamError) -> RetryingStep:
        made = self.budget.calls_made[target.key]
        return RetryingStep(made + 1, made + self._calls_left(target), wait_s, error)

    # -- the breaker ---------------------------------------------------------------------------------

    async def _guarded(self, target: Target, plan: _Plan) -> Steps:
        """Ask with a permit of the breaker's; without one, wait in line for it, where that may help."""
        if not self._calls_left(target):
            raise errors.GaveUp("no calls left")
        breaker = self.state.breaker(target)
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
            if plan.recovery is Recovery.CONTINUE and self.cut_by is not None:
                yield ContinuedStep(target, self.cut_by)
            async with aclosing(self._slotted(target, plan, breaker, permit)) as steps:
                async for step in steps:
                    yield step
        finally:
            breaker.withdrawn(permit)  # means nothing after a verdict

    def _switched(self, target: Target) -> SwitchedStep:
        error = self.error or errors.BreakerOpen("passed over")
        error.target_key = error.target_key or self.current.key
        self.current = target
        return SwitchedStep(target, error)

    def _may_wait_for(self, breaker: Breaker) -> bool:
        """Programs come again by themselves, and nobody waits while another model could answer."""
        is_other_way = any(self._wait_s(target) == 0 for target in self.left)
        return (
            self.priority is not QueuePriority.API
            and not is_other_way
            and breaker.wait_s < self._time_left_s()
        )

    def _soonest_s(self) -> float | None:
        wait_s = min(map(self._wait_s, self.left))
        return None if wait_s == float("inf") else wait_s

    async def _turn(self, breaker: Breaker, target: Target) -> Permit | None:
        try:
            async with asyncio.timeout_at(self.deadline_s):
                return await breaker.turn(self.budget.calls_made[target.key])
        except TimeoutError:
            raise errors.BreakerOpen(retry_after_s=self._soonest_s()) from None

    # -- the slot and the call -----------------------------------------------------------------------

    async def _slotted(self, target: Target, plan: _Plan, breaker: Breaker, permit: Permit) -> Steps:
        """Ask with a slot of the endpoint's, and give it back before anybody waits for anything."""
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        place = self.state.admission(target).enter(self.priority, self.user)
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
            self.budget.calls_made[target.key] += 1
            yield StartedStep(target, self.budget.calls_made[target.key], queued_s, plan.recovery)
            calling = self._called(target, plan, breaker, in_force, first_token_s)
            async with aclosing(calling) as steps:
                async for step in steps:
                    yield step
        finally:
            place.leave()

    def _first_token_s(self, target: Target) -> float:
        limits = target.timeouts
        if self._healthy_fallbacks(target):
            return min(limits.first_token_s, limits.first_token_with_fallback_s)
        return limits.first_token_s

    async def _called(
        self, target: Target, plan: _Plan, breaker: Breaker, permit: Permit, first_token_s: float
    ) -> Steps:
        is_judged = False
        seam = self._seam(plan)
        calling = attempt(
            target, plan.prompt, self.client, first_token_s=first_token_s, total_deadline=self.deadline_s
        )
        try:
            async with aclosing(calling) as steps:
                async for step in steps:
                    if not is_judged:
                        is_judged = True
                        breaker.succeeded(permit)
                    self.is_cut = self.is_cut or isinstance(step, events.Delta)
                    if seam is None:
                        yield step
                    else:
                        for joined in seam.join(step):
                            yield joined
        except errors.UpstreamError as exc:
            if exc.counts_against:
                breaker.failed(permit)
            if isinstance(exc, errors.RateLimited) and exc.retry_after_s:
                self.state.admission(target).pause(exc.retry_after_s)
            raise
