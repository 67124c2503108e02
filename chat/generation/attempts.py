"""Record each upstream call of a run as an `Attempt` row, counted before the call is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic

import msgspec
from django.utils import timezone

from chat import events, upstream
from chat.event_log.lease import LeaseLost
from chat.event_log.writer import Writer
from chat.generation.budgets import BudgetHold
from chat.generation.usage import UsageTotal, count_call
from chat.models import rows
from chat.models.attempt import Attempt
from chat.models.budget_use import BudgetExceeded
from chat.models.catalog import Model
from chat.models.generation import Generation
from chat.upstream import errors


def next_attempt(generation: Generation, model_name: str, endpoint_name: str) -> Attempt:
    """Count the next call of a generation and return its row; saves neither."""
    generation.calls += 1
    return Attempt(
        generation=generation,
        number=generation.calls,
        epoch=generation.epoch,
        model_name=model_name,
        endpoint_name=endpoint_name,
    )


LEFT_OUT_MAX_CHARS, REQUEST_ID_MAX_CHARS = 200, 80
# Of the last attempt: all but its keys, and what `abandon` writes.
_KEPT_FIELDS = {"id", "generation_id", "number", "epoch", "abandoned_text", "abandoned_calls"}
_CHANGING_FIELDS = tuple(
    field.attname for field in Attempt._meta.local_concrete_fields if field.attname not in _KEPT_FIELDS
)
# Shorter waits are not worth the transaction that stores them before the first call.
QUEUED_MIN_S = 0.05
# Of the text that a recovery sends, or has the model write again.
CHARS_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class RunningGeneration:
    """A generation that runs here; `model`: the one that is being called now."""

    id: int
    model: str
    since: datetime | None


class AttemptRecorder:
    """The attempts of one run.

    The claim stores the first attempt, to save a transaction before the first delta. Its call has not been
    made until `begin`; if it never is, `finish` deletes the row again.
    """

    def __init__(
        self,
        generation: Generation,
        first: Attempt | None,
        writer: Writer,
        used: UsageTotal | None = None,
        hold: BudgetHold | None = None,
    ) -> None:
        """`used`: what the calls of earlier owners used. `hold`: what the answer holds of budgets."""
        self._used = used or UsageTotal()
        self._hold = hold
        self._generation = generation
        self._writer = writer
        # The call in progress, or the last one.
        self._current = first
        self._is_first_pending = first is not None
        # The number of the call whose text was shown last.
        self._shown_number = generation.calls
        # How long the run waited for its API key before its first call.
        self._queued_s = 0.0
        # Since when the run waits for its next call.
        self._waiting_since_s: float | None = None

    @property
    def model_name(self) -> str:
        """The name of the model that is being called, or was called last."""
        return self._current.model_name if self._current else self._generation.model_name

    def as_running(self) -> RunningGeneration:
        generation = self._generation
        return RunningGeneration(generation.pk, self.model_name, generation.started_at)

    @property
    def pending_calls(self) -> int:
        """How many calls are counted already that have not been made: 0 or 1."""
        return int(self._is_first_pending)

    def waited(self, seconds: float) -> None:
        """Note how long the run waited for its API key. A moment does not count."""
        self._queued_s = seconds if seconds >= QUEUED_MIN_S else 0.0

    async def note_context(self, model: Model | None, error: errors.UpstreamError) -> None:
        """Store the size of a model's context that was unknown until its endpoint named it."""
        if not isinstance(error, errors.ContextTooLong) or error.limit_tokens is None:
            return
        if model is not None and model.context_tokens is None:
            await self._writer.arun(partial(model.note_context, error.limit_tokens))

    async def begin(
        self, step: upstream.StartedStep, model: Model | None, *, shown_chars: int, recoveries: int
    ) -> None:
        """Count a call of `model` and store its row before it is made. Raises LeaseLost, BudgetExceeded.

        `shown_chars`: characters of the answer before this call; `recoveries`: made so far.
        """
        ended = None if self._is_first_pending else self._current
        if self._is_first_pending:
            self._is_first_pending = False
            if self._is_as_claimed(step):
                assert self._current is not None
                self._current.queued_s = step.queued_s  # saved with the end
                return
            attempt = self._redirected(step.target)
        else:
            attempt = next_attempt(self._generation, step.target.model, step.target.endpoint)
        attempt.left_out = ", ".join(step.left_out)[:LEFT_OUT_MAX_CHARS]
        attempt.recovery = step.recovery or ""
        attempt.before_chars = shown_chars
        attempt.queued_s = step.queued_s + self._queued_s
        self._queued_s = 0.0
        attempt.wait_s = max(0.0, self._waited_s() - step.queued_s)
        self._current, self._waiting_since_s = attempt, None
        sent_tokens = shown_chars // CHARS_PER_TOKEN
        stored = partial(self._store, ended, attempt, recoveries, model, sent_tokens)
        result = await self._writer.arun(stored)
        if ended is not None and result is not None:
            self._used.add(ended)
        match result:
            case None:
                raise LeaseLost
            case BudgetExceeded():
                self._generation.calls -= 1
                self._current = None
                raise result
            case BudgetHold():
                self._hold = result

    def _is_as_claimed(self, step: upstream.StartedStep) -> bool:
        """Whether the row that the claim stored describes this call already."""
        assert self._current is not None
        claimed_key = (self._current.endpoint_name, self._current.model_name)
        has_waited = step.queued_s >= QUEUED_MIN_S or self._queued_s or self._waiting_since_s
        is_usual = not (has_waited or step.left_out)
        return claimed_key == (step.target.endpoint, step.target.model) and is_usual

    def _redirected(self, target: upstream.Target) -> Attempt:
        assert self._current is not None
        self._current.model_name, self._current.endpoint_name = target.model, target.endpoint
        self._current.started_at = timezone.now()
        return self._current

    def _waited_s(self) -> float:
        return 0.0 if self._waiting_since_s is None else monotonic() - self._waiting_since_s

    def _store(
        self,
        ended: Attempt | None,
        attempt: Attempt,
        recoveries: int,
        model: Model | None,
        sent_tokens: int,
    ) -> BudgetHold | BudgetExceeded | bool | None:
        """Store a call and the end of the one before it. Return None if another process owns the answer.

        Return what is held of budgets, or why the call must not be made: its row is not there then.
        """
        generation, hold = self._generation, self._hold
        own = Generation.objects.filter(pk=generation.pk, owner=generation.owner, epoch=generation.epoch)
        if not own.update(calls=attempt.number, recoveries=recoveries):
            return None
        if ended is not None:
            ended.save()
        if hold is not None and model is not None:
            try:
                hold = hold.renewed(model, ended, sent_tokens)
            except BudgetExceeded as exc:
                own.update(calls=attempt.number - 1)
                if attempt.pk is not None:
                    generation.attempts.filter(pk=attempt.pk).delete()
                return exc
        attempt.save()
        return hold or True

    def first_delta(self) -> None:
        """Note when the call in progress sent its first text; later calls of this change nothing."""
        if self._current is None:
            return
        self._shown_number = self._current.number
        if self._current.first_delta_at is None:
            self._current.first_delta_at = timezone.now()
            self._generation.first_delta_at = self._generation.first_delta_at or self._current.first_delta_at

    def failed(self, exc: errors.UpstreamError) -> None:
        """Note why the call in progress failed. It is saved with the next call, or with the end."""
        self._waiting_since_s = self._waiting_since_s or monotonic()
        if self._is_first_pending:
            return  # no call was made
        if self._current is not None and self._current.outcome == Attempt.Outcome.RUNNING:
            self._current.outcome = Attempt.Outcome.FAILED
            self._current.error_code = exc.code
            self._current.error_detail = exc.detail
            self._current.finished_at = timezone.now()

    async def abandon(self, text: str, tool_calls: Sequence[events.WholeToolCall]) -> None:
        """Keep what a restart removes from the answer: reviewers find it with its attempt."""
        attempts = self._generation.attempts.filter(number=self._shown_number)
        calls = msgspec.to_builtins(tool_calls) or None
        await self._writer.arun(lambda: attempts.update(abandoned_text=text, abandoned_calls=calls))

    def completed(self, step: upstream.Finished) -> None:
        """Note what the call in progress used, and what staff should know about it."""
        if self._current is None:
            return
        self._current.error_detail = step.note
        self._current.request_id = step.request_id[:REQUEST_ID_MAX_CHARS]
        if step.usage is not None:
            self._current.input_tokens = step.usage.prompt_tokens
            self._current.output_tokens = step.usage.completion_tokens
            self._current.cached_tokens = step.usage.cached_tokens
            self._current.reasoning_tokens = step.usage.reasoning_tokens

    def count(
        self, model: Model | None, *, prompt_tokens: Callable[[], int], delivered_tokens: Callable[[], int]
    ) -> None:
        """Count what the call in progress has used so far; see `usage.count_call`."""
        if self._current is not None and not self._is_first_pending:
            count_call(self._current, model, prompt_tokens=prompt_tokens, delivered_tokens=delivered_tokens)

    def store_total(self) -> None:
        """Set what all calls used on the generation; does not save."""
        total = replace(self._used)
        if self._current is not None:
            total.add(self._current)
        total.store(self._generation)

    @property
    def target_key(self) -> tuple[str, str] | None:
        """Endpoint and model of the call in progress, or of the last one."""
        return (self._current.endpoint_name, self._current.model_name) if self._current else None

    def finish(self, outcome: str) -> None:
        """Save the last attempt; runs in the transaction that ends the generation.

        `outcome`: of a call that is still in progress.
        """
        is_counted = self._current is None or self._is_first_pending
        if self._hold is not None:
            self._hold.settle(None if is_counted else self._current)
        if self._current is None:
            return
        if self._is_first_pending:
            Attempt.objects.filter(pk=self._current.pk).delete()
            return
        if self._current.outcome == Attempt.Outcome.RUNNING:
            self._current.outcome = outcome
            self._current.finished_at = self._generation.finished_at
        current = self._current
        rows.update(Attempt, current.pk, {name: getattr(current, name) for name in _CHANGING_FIELDS})
