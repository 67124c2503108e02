"""Whether the same model is called again after a failure, and after how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chat.upstream import errors
from chat.upstream.fallback import Candidates
from chat.upstream.policy import AnswerDeadline, CallBudget, Policy
from chat.upstream.steps import RetryingStep
from chat.upstream.types import Target


@dataclass(slots=True)
class Retries:
    """The retries of one answer, within its policy, budget and deadline."""

    policy: Policy
    budget: CallBudget
    deadline: AnswerDeadline
    candidates: Candidates
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[float, float], float]
    backed_off_s: float = 0.0

    def calls_left(self, target: Target) -> int:
        left_at_target = self.policy.calls_per_target - self.budget.calls_made[target.key]
        return min(self.budget.calls_left, left_at_target)

    def wait_s(self, target: Target, error: errors.UpstreamError) -> float:
        """Return how long to wait before the target is called again.

        Raises `error` if the target must not be called again.
        """
        is_silent = isinstance(error, errors.FirstTokenTimedOut)
        if not error.retryable or not self.calls_left(target):
            raise error
        if is_silent and self.candidates.healthy_fallbacks(target):
            raise error
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = self.policy.backoff_s(self.budget.calls_made[target.key], self.uniform)
        is_too_long = (
            wait_s > self.policy.retry_after_max_s
            or self.backed_off_s + wait_s > self.policy.backoff_total_s
            or wait_s >= self.deadline.left_s
        )
        if is_too_long:
            raise error
        return wait_s

    def step(self, target: Target, wait_s: float, error: errors.UpstreamError) -> RetryingStep:
        """Return the step that announces the next call to the same target."""
        made = self.budget.calls_made[target.key]
        return RetryingStep(made + 1, made + self.calls_left(target), wait_s, error)

    async def back_off(self, wait_s: float) -> None:
        if wait_s:
            self.backed_off_s += wait_s
            await self.sleep(wait_s)

    async def wait_out(self, pause_s: float) -> None:
        """Wait for the end of a pause, which is a time of the clock and not a number of retries."""
        self.backed_off_s += pause_s
        await asyncio.sleep(pause_s)
