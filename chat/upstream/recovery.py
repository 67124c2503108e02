"""How an answer that was interrupted after its first delta is completed.

The next call either continues the text or restarts the answer. A recovery stays with its model, except
that it moves along the route if that model stalled, if another one can continue the text and this one
cannot, or if it is the last recovery of the budget.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from chat import events
from chat.upstream import errors
from chat.upstream.fallback import Candidates
from chat.upstream.policy import Budget, Policy
from chat.upstream.splice import CONTINUE_MIN_CHARS, Splice
from chat.upstream.steps import Step
from chat.upstream.types import Prompt, PromptBuilder, Recovery, Target


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What one call sends, and how its answer joins the text that is displayed.

    `recovery`: None if no text is displayed. `text_before`: the displayed text.
    """

    prompt: Prompt
    recovery: Recovery | None = None
    text_before: str = ""

    def splice(self, interrupted_by: errors.UpstreamError | None) -> Splice | None:
        """Return the splice to the text that the call joins; None if there is none."""
        if self.recovery is Recovery.RESTART and interrupted_by is not None:
            return Splice(self.text_before, Recovery.RESTART, interrupted_by.code)
        if len(self.prompt.prefill) >= CONTINUE_MIN_CHARS:
            return Splice(self.prompt.prefill, Recovery.CONTINUE)
        return None


@dataclass(slots=True)
class RecoveryPlanner:
    """Knows what is displayed of one answer, and plans the next call accordingly."""

    policy: Policy
    budget: Budget
    candidates: Candidates
    build_prompt: PromptBuilder
    text_so_far: Callable[[], Awaitable[str]]
    # What is displayed.
    has_text: bool = False
    has_thinking: bool = False
    # The error that interrupted the displayed text.
    interrupted_by: errors.UpstreamError | None = None
    # Whether a recovery was refused, so that the answer ends with the text it has.
    is_exhausted: bool = False

    async def resume(self) -> None:
        """Begin the recovery of the text that a lost process has left, if any.

        Raises ProcessLost if the text is to be kept as it is.
        """
        self.has_text = bool(await self.text_so_far())
        if self.has_text:
            self.begin(errors.ProcessLost())

    def observe(self, step: Step) -> Step:
        """Keep track of what is displayed; return the step."""
        match step:
            case events.Delta():
                self.has_text = True
            case events.Thinking():
                self.has_thinking = True
            case events.Restarted():
                self.has_text = self.has_thinking = False
        return step

    def begin(self, error: errors.UpstreamError) -> None:
        """Use one recovery of the budget.

        Raises `error` if the answer must end with the text it has.
        """
        able = [target for target in self.candidates.targets if self.method(target) is not None]
        has_budget = self.budget.recoveries_left > 0 and self.budget.calls_left > 0
        if not (error.retryable and able and has_budget):
            self.is_exhausted = True
            raise error
        self.candidates.targets = able
        self.budget.recoveries_left -= 1
        self.interrupted_by = error

    def method(self, target: Target, chars: int = CONTINUE_MIN_CHARS) -> Recovery | None:
        """Return how a target may complete a text of this length; None if it may not."""
        allowed = self.policy.recoveries
        may_restart = Recovery.RESTART in allowed
        is_long_enough = chars >= CONTINUE_MIN_CHARS or not may_restart
        if Recovery.CONTINUE in allowed and self.candidates.can_continue(target) and is_long_enough:
            return Recovery.CONTINUE
        return Recovery.RESTART if may_restart else None

    def is_better_elsewhere(self, target: Target, error: errors.UpstreamError) -> bool:
        """Whether another target of the route is the better choice for this recovery."""
        others = self.candidates.healthy_fallbacks(target)
        can_continue = self.candidates.can_continue
        can_keep_text = any(map(can_continue, others)) and not can_continue(target)
        is_last = not self.budget.recoveries_left
        return bool(others) and (can_keep_text or is_last or isinstance(error, errors.Stalled))

    async def plan(self, target: Target) -> CallPlan:
        """Plan the next call to a target.

        Raises the error that interrupted the text if the target may not complete it.
        """
        text_before = await self.text_so_far() if self.has_text else ""
        recovery = self.method(target, len(text_before)) if text_before else None
        if text_before and recovery is None:
            assert self.interrupted_by is not None
            raise self.interrupted_by
        plan = CallPlan(Prompt([]), recovery, text_before)
        prompt = self._prompt(target, plan)
        assert prompt is not None
        return replace(plan, prompt=prompt)

    def shorten(self, target: Target, plan: CallPlan, error: errors.ContextTooLong) -> CallPlan | None:
        """Return the plan with a shorter prompt; None if there is none."""
        prompt = self._prompt(target, plan, error)
        return None if prompt is None else replace(plan, prompt=prompt)

    def _prompt(
        self, target: Target, plan: CallPlan, refused: errors.ContextTooLong | None = None
    ) -> Prompt | None:
        return self.build_prompt(
            target,
            partial=plan.text_before if plan.recovery is Recovery.CONTINUE else "",
            may_prefill=self.candidates.can_continue(target),
            refused=refused,
        )
