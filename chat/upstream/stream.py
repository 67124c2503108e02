"""Get one answer from a route of models.

Each method adds one policy and calls the next one down:

    stream                the total timeout
    steps                 recovery of the text that a lost process has left
    _follow_route         which model is called, and which one after it fails    fallback.py
    _call_with_retries    retries and recoveries with the same model             retry.py, recovery.py
    _call_with_permit     the breaker: no calls to a failing model               breaker.py
    _call_with_slot       the slots of the endpoint: one for each call           admission.py
    _call                 the text of one call, spliced; its outcome             splice.py
    call_target           first-token and stall timeouts, complete answers      call.py
    Client.open           authentication, connections                            client.py

A failure before the first delta of a call is retried; `errors.py` has a table of what follows from which
error. A failure after it is recovered from if the error is a temporary one: the next call continues or
restarts the text.

What the time limits cover: time in the queue does not count, the total timeout is extended by it.
Backoff, `Retry-After` included, may take 60 s in all. Waiting for an open breaker is separate, since no
call is made meanwhile and none is used up: it may take what is left of the total timeout. This way an
answer with a call left outlasts an outage of a minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from chat import events
from chat.upstream import errors
from chat.upstream.admission import Ticket
from chat.upstream.breaker import Breaker, Permit
from chat.upstream.call import call_target
from chat.upstream.client import Client
from chat.upstream.fallback import Candidates
from chat.upstream.images import ReceivedImage
from chat.upstream.policy import DEFAULT_POLICY, AnswerDeadline, CallBudget, Policy
from chat.upstream.queue import QueuePriority
from chat.upstream.recovery import CallPlan, RecoveryPlanner
from chat.upstream.request_body import PREFILL, sent_parameters
from chat.upstream.retry import Retries
from chat.upstream.state import UpstreamState
from chat.upstream.steps import ContinuedStep, RefusedStep, StartedStep, Steps, SwitchedStep
from chat.upstream.types import PromptBuilder, Recovery, Target

logger = logging.getLogger(__name__)

# How long after its own timeouts a probe counts as lost.
PROBE_GRACE_S = 5.0
# The steps after which a call cannot be repeated as if nothing had been shown.
SHOWN = events.Delta | events.ToolCall | events.Choices | ReceivedImage
# How often a changed queue position is reported.
POSITION_INTERVAL_S = 1.0


async def _no_text() -> str:
    return ""


async def stream(
    route: Sequence[Target],
    prompt: PromptBuilder,
    *,
    client: Client,
    state: UpstreamState,
    budget: CallBudget,
    text_so_far: Callable[[], Awaitable[str]] = _no_text,
    tool_calls: Sequence[events.WholeToolCall] = (),
    images: int = 0,
    policy: Policy = DEFAULT_POLICY,
    priority: QueuePriority = QueuePriority.INTERACTIVE,
    user: Hashable = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Steps:
    """Yield the steps of one answer; the last one is `Finished`.

    `route`: the model to call and its fallbacks, in order. `user`: users take turns in the queue.
    `text_so_far`: returns the text of the answer up to the last step that was yielded. If it returns text
    before the first step, or if there are `tool_calls` or `images` (how many pictures), a lost process has
    left these, and the answer is recovered.
    `StartedStep` is yielded before each call is made, so that the caller can store it first.
    Closing the iterator, or cancelling the task that reads it, closes the connection to the endpoint and
    gives back slots, permits and queue positions. Raises UpstreamError if the answer fails.
    """
    deadline = AnswerDeadline.after(route[0].timeouts.total_s)
    candidates = Candidates(route, state)
    run = _UpstreamRun(
        client=client,
        state=state,
        budget=budget,
        deadline=deadline,
        priority=priority,
        user=user,
        candidates=candidates,
        retries=Retries(policy, budget, deadline, candidates, sleep, uniform),
        recovery=RecoveryPlanner(policy, budget, candidates, prompt, text_so_far, tool_calls, images),
        current=route[0],
    )
    async with aclosing(run.steps()) as steps:
        async for step in steps:
            yield step


@dataclass(slots=True)
class _UpstreamRun:
    """One answer on its way through the policies."""

    client: Client
    state: UpstreamState
    budget: CallBudget
    deadline: AnswerDeadline
    priority: QueuePriority
    user: Hashable
    candidates: Candidates
    retries: Retries
    recovery: RecoveryPlanner
    # The target that is being called, and the last error.
    current: Target
    error: errors.UpstreamError | None = None
    # Whether the current call has yielded text or tool calls.
    has_delta: bool = False

    async def steps(self) -> Steps:
        await self.recovery.resume()
        async with aclosing(self._follow_route()) as steps:
            async for step in steps:
                yield step

    # -- the route -----------------------------------------------------------------------------------

    async def _follow_route(self) -> Steps:
        """Call the best candidate; if it fails, the next one that may do better."""
        while True:
            target = self.candidates.choose(has_text=self.recovery.may_continue)
            try:
                async with aclosing(self._call_with_retries(target)) as steps:
                    async for step in steps:
                        yield step
            except errors.UpstreamError as exc:
                self.error = exc
                exc.target_key = exc.target_key or target.key
                if self.recovery.is_exhausted or not self._can_fall_back(target, exc):
                    raise
            else:
                return

    def _can_fall_back(self, failed: Target, error: errors.UpstreamError) -> bool:
        if isinstance(error, errors.BreakerOpen):
            return self.candidates.has_ready or self._may_wait_for(self.state.breaker(failed))
        return self.candidates.discard(failed, error) and self.budget.calls_left > 0

    def _switch(self, target: Target) -> SwitchedStep:
        error = self.error or self._refused_by(self.state.breaker(self.current), "skipped")
        error.target_key = error.target_key or self.current.key
        self.current = target
        return SwitchedStep(target, error)

    # -- retries and recoveries ----------------------------------------------------------------------

    async def _call_with_retries(self, target: Target) -> Steps:
        plan = await self.recovery.plan(target)
        while True:
            if self.recovery.has_only_thinking and self.error is not None:
                # No model can continue from incomplete thinking.
                yield self.recovery.observe(events.Restarted(self.error.code))
            self.has_delta = False
            try:
                async with aclosing(self._call_with_permit(target, plan)) as steps:
                    async for step in steps:
                        yield self.recovery.observe(step)
            except errors.UpstreamError as exc:
                exc.target_key = target.key
                self.error = error = exc
            else:
                return
            parameter = None if self.has_delta else self._refused_parameter(target, plan, error)
            if parameter is not None:
                self.candidates.refuse(target, parameter)
                yield RefusedStep(target, parameter, error)
                plan = await self.recovery.plan(target)
                continue
            plan, wait_s = await self._plan_next_call(target, plan, error)
            yield self.retries.step(target, wait_s, error)
            await self.retries.back_off(wait_s)

    async def _plan_next_call(
        self, target: Target, plan: CallPlan, error: errors.UpstreamError
    ) -> tuple[CallPlan, float]:
        """Return the next call to the same target, and how long to wait before it.

        Raises `error` if the target must not be called again.
        """
        if self.has_delta:
            self.recovery.begin(error)
            if self.recovery.is_better_elsewhere(target, error):
                raise error
            wait_s = self.retries.wait_s(target, error)
            return await self.recovery.plan(target), wait_s
        if isinstance(error, errors.ContextTooLong) and self.retries.calls_left(target):
            shorter = self.recovery.shorten(target, plan, error)
            if shorter is not None:
                return shorter, 0.0
        return plan, self.retries.wait_s(target, error)

    def _refused_parameter(self, target: Target, plan: CallPlan, error: errors.UpstreamError) -> str | None:
        """Return the parameter without which the target may accept the request; None if there is none."""
        if not self.retries.calls_left(target):
            return None
        sent = sent_parameters(target, plan.prompt, self.candidates.refused(target))
        named = next((name for name in error.refused_parameters if name in sent), None)
        if named is None and type(error) is errors.Rejected and PREFILL in sent:
            named = PREFILL  # few servers say why they reject it
        if named is not None:
            logger.warning("%s does not accept %s: %s", target.model, named, error)
        return named

    # -- the breaker ---------------------------------------------------------------------------------

    async def _call_with_permit(self, target: Target, plan: CallPlan) -> Steps:
        """Make a call with a permit of the breaker; wait for one if this answer may."""
        if not self.retries.calls_left(target):
            raise errors.GaveUp("no calls left")
        while paused_s := self.state.paused_s(target):
            limited = errors.RateLimited("paused after a 429", retry_after_s=paused_s)
            yield self.retries.step(target, self.retries.wait_s(target, limited), limited)
            await self.retries.wait_out(paused_s)
        breaker = self.state.breaker(target)
        permit = breaker.try_acquire()
        while permit is None:
            error = self._refused_by(breaker)
            if not self._may_wait_for(breaker):
                raise error
            yield self.retries.step(target, breaker.wait_s, error)
            permit = breaker.try_acquire() or await self._wait_for_permit(breaker, target)
        try:
            if target is not self.current:
                yield self._switch(target)
            if plan.recovery is Recovery.CONTINUE and self.recovery.interrupted_by is not None:
                yield ContinuedStep(target, self.recovery.interrupted_by)
            async with aclosing(self._call_with_slot(target, plan, breaker, permit)) as steps:
                async for step in steps:
                    yield step
        finally:
            breaker.release(permit)  # has no effect after an outcome

    def _refused_by(self, breaker: Breaker, detail: str = "") -> errors.BreakerOpen:
        error = errors.BreakerOpen(detail, retry_after_s=self.candidates.shortest_wait_s)
        if breaker.is_held:
            error.switch_off()
        return error

    def _may_wait_for(self, breaker: Breaker) -> bool:
        """Whether this answer may wait for an open breaker.

        It does not wait if another model is ready, nor if it is an API call: API clients retry by themselves.
        """
        return (
            self.priority is not QueuePriority.API
            and not self.candidates.has_ready
            and breaker.wait_s < self.deadline.left_s
        )

    async def _wait_for_permit(self, breaker: Breaker, target: Target) -> Permit | None:
        try:
            async with asyncio.timeout_at(self.deadline.at_s):
                return await breaker.acquire(self.budget.calls_made[target.key])
        except TimeoutError:
            raise self._refused_by(breaker) from None

    # -- the slot and the call -----------------------------------------------------------------------

    async def _call_with_slot(
        self, target: Target, plan: CallPlan, breaker: Breaker, permit: Permit
    ) -> Steps:
        """Make a call with a slot of the endpoint; no slot is held during backoff."""
        loop = asyncio.get_running_loop()
        entered_at_s = loop.time()
        ticket = self.state.admission(target).enter(self.priority, self.user)
        try:
            async with aclosing(self._wait_in_queue(ticket)) as positions:
                async for position in positions:
                    yield position
            queued_s = loop.time() - entered_at_s
            self.deadline.extend(queued_s)
            first_token_s = self._first_token_s(target)
            outcome_within_s = first_token_s + target.timeouts.stall_s + PROBE_GRACE_S
            valid_permit = breaker.start_call(permit, outcome_within_s=outcome_within_s)
            if valid_permit is None:
                raise self._refused_by(breaker, "it opened while the call waited for a slot")
            self.budget.calls_left -= 1
            self.budget.calls_made[target.key] += 1
            refused = self.candidates.refused(target)
            left_out = sent_parameters(target, plan.prompt, ()) & refused
            made = self.budget.calls_made[target.key]
            yield StartedStep(target, made, queued_s, plan.recovery, tuple(sorted(left_out)))
            async with aclosing(self._call(target, plan, breaker, valid_permit, first_token_s)) as steps:
                async for step in steps:
                    yield step
        finally:
            ticket.release()

    async def _wait_in_queue(self, ticket: Ticket) -> Steps:
        while not ticket.is_granted:
            yield events.Queued(ticket.position)
            await ticket.wait_for_change(poll_interval_s=POSITION_INTERVAL_S)

    def _first_token_s(self, target: Target) -> float:
        limits = target.timeouts
        if self.candidates.healthy_fallbacks(target):
            return min(limits.first_token_s, limits.first_token_with_fallback_s)
        return limits.first_token_s

    async def _call(
        self, target: Target, plan: CallPlan, breaker: Breaker, permit: Permit, first_token_s: float
    ) -> Steps:
        """Make the call, splice its text to the displayed text, and record its outcome."""
        has_outcome = False
        splice = plan.splice(self.recovery.interrupted_by)
        calling = call_target(
            target,
            plan.prompt,
            self.client,
            refused=self.candidates.refused(target),
            first_token_s=first_token_s,
            total_deadline_s=self.deadline.at_s,
        )
        try:
            async with aclosing(calling) as steps:
                async for step in steps:
                    if not has_outcome:
                        has_outcome = True
                        breaker.record_success(permit)
                    self.has_delta = self.has_delta or isinstance(step, SHOWN)
                    for spliced in splice.feed(step) if splice is not None else (step,):
                        yield spliced
        except errors.UpstreamError as exc:
            exc.hidden_text = "" if splice is None else splice.hidden_text
            if exc.counts_against:
                breaker.record_failure(permit)
            if isinstance(exc, errors.RateLimited) and exc.retry_after_s:
                self.state.pause(target, exc.retry_after_s, is_for_endpoint=exc.concerns_endpoint)
            raise
