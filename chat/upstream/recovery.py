"""How an answer that was interrupted after its first delta is completed.

The next call either continues the text or restarts the answer. An answer that was interrupted within or after
a tool call, or after a picture, always restarts: a model can be asked to continue a text, but not half of a
call, nor a picture that it cannot see. A recovery stays with its model, except that it moves along the route
if that model stalled, if another one can continue the text and this one cannot, or if it is the last recovery
of the budget.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from chat import events
from chat.upstream import errors
from chat.upstream.fallback import Candidates
from chat.upstream.images import ReceivedImage
from chat.upstream.policy import CallBudget, Policy
from chat.upstream.splice import CONTINUE_MIN_CHARS, Splice
from chat.upstream.steps import Step
from chat.upstream.types import Prompt, PromptBuilder, Recovery, Target


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What one call sends, and how its answer joins the text that is displayed.

    `recovery`: None if nothing is displayed. `text_before`, `calls_before`, `images_before`: what is; of
    pictures, how many.
    """

    prompt: Prompt
    recovery: Recovery | None = None
    text_before: str = ""
    calls_before: Sequence[events.WholeToolCall] = ()
    images_before: int = 0

    def splice(self, interrupted_by: errors.UpstreamError | None) -> Splice | None:
        """Return the splice to the text that the call joins; None if there is none."""
        if self.recovery is Recovery.RESTART and interrupted_by is not None:
            reason = interrupted_by.code
            return Splice(self.text_before, Recovery.RESTART, reason, self.calls_before, self.images_before)
        if len(self.prompt.prefill) >= CONTINUE_MIN_CHARS:
            return Splice(self.prompt.prefill, Recovery.CONTINUE)
        return None


@dataclass(slots=True)
class RecoveryPlanner:
    """Knows what is displayed of one answer, and plans the next call accordingly."""

    policy: Policy
    budget: CallBudget
    candidates: Candidates
    build_prompt: PromptBuilder
    text_so_far: Callable[[], Awaitable[str]]
    # The tool calls that a lost process has left.
    left_calls: Sequence[events.WholeToolCall] = ()
    # What is displayed; of pictures, how many.
    images: int = 0
    has_text: bool = False
    has_thinking: bool = False
    call_pieces: list[events.ToolCall] = field(default_factory=list)
    # The error that interrupted the displayed text.
    interrupted_by: errors.UpstreamError | None = None
    # Whether a recovery was refused, so that the answer ends with the text it has.
    is_exhausted: bool = False

    async def resume(self) -> None:
        """Begin the recovery of the text that a lost process has left, if any.

        Raises ProcessLost if the text is to be kept as it is.
        """
        self.has_text = bool(await self.text_so_far())
        self.call_pieces = [
            events.ToolCall(index, call.id, call.name, call.arguments)
            for index, call in enumerate(self.left_calls)
        ]
        if self.is_displayed:
            self.begin(errors.ProcessLost())

    @property
    def is_displayed(self) -> bool:
        """Whether text, tool calls or pictures are displayed."""
        return self.has_text or bool(self.call_pieces or self.images)

    @property
    def may_continue(self) -> bool:
        """Whether there is text that a model could continue."""
        return self.has_text and not self.call_pieces and not self.images

    @property
    def has_only_thinking(self) -> bool:
        return self.has_thinking and not self.is_displayed

    def observe(self, step: Step) -> Step:
        """Keep track of what is displayed; return the step."""
        match step:
            case events.Delta():
                self.has_text = True
            case events.Thinking():
                self.has_thinking = True
            case events.ToolCall():
                self.call_pieces.append(step)
            case ReceivedImage():
                self.images += 1
            case events.Restarted():
                self.has_text = self.has_thinking = False
                self.call_pieces, self.images = [], 0
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
        can_continue = self.candidates.can_continue(target) and not (self.call_pieces or self.images)
        if Recovery.CONTINUE in allowed and can_continue and is_long_enough:
            return Recovery.CONTINUE
        return Recovery.RESTART if may_restart else None

    def is_better_elsewhere(self, target: Target, error: errors.UpstreamError) -> bool:
        """Whether another target of the route is the better choice for this recovery."""
        others = self.candidates.healthy_fallbacks(target)
        can_continue = self.candidates.can_continue
        can_keep_text = self.may_continue and any(map(can_continue, others)) and not can_continue(target)
        is_last = not self.budget.recoveries_left
        return bool(others) and (can_keep_text or is_last or isinstance(error, errors.Stalled))

    async def plan(self, target: Target) -> CallPlan:
        """Plan the next call to a target.

        Raises the error that interrupted the text if the target may not complete it.
        """
        text_before = await self.text_so_far() if self.has_text else ""
        calls_before = events.whole_tool_calls(self.call_pieces)
        is_displayed = bool(text_before or calls_before or self.images)
        recovery = self.method(target, len(text_before)) if is_displayed else None
        if is_displayed and recovery is None:
            assert self.interrupted_by is not None
            raise self.interrupted_by
        plan = CallPlan(Prompt([]), recovery, text_before, calls_before, self.images)
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
