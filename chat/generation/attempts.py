"""Record each upstream call of a run as an `Attempt` row, counted before the call is made."""

from __future__ import annotations

from functools import partial
from time import monotonic

from django.utils import timezone

from chat import upstream
from chat.event_log.lease import LeaseLost
from chat.event_log.writer import Writer
from chat.models.attempt import Attempt
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


LEFT_OUT_MAX_CHARS = 200


class AttemptRecorder:
    """The attempts of one run.

    The claim stores the first attempt, to save a transaction before the first delta. Its call has not been
    made until `begin`; if it never is, `finish` deletes the row again.
    """

    def __init__(self, generation: Generation, first: Attempt | None, writer: Writer) -> None:
        self._generation = generation
        self._writer = writer
        # The call in progress, or the last one.
        self._current = first
        self._is_first_pending = first is not None
        # The number of the call whose text was shown last.
        self._shown_number = generation.calls
        # Since when the run waits for its next call.
        self._waiting_since_s: float | None = None

    @property
    def model_name(self) -> str:
        """The name of the model that is being called, or was called last."""
        return self._current.model_name if self._current else self._generation.model_name

    @property
    def pending_calls(self) -> int:
        """How many calls are counted already that have not been made: 0 or 1."""
        return int(self._is_first_pending)

    async def begin(self, step: upstream.StartedStep, *, shown_chars: int, recoveries: int) -> None:
        """Count a call and store its row before it is made. Raises LeaseLost.

        `shown_chars`: characters of the answer before this call; `recoveries`: made so far.
        """
        ended = None if self._is_first_pending else self._current
        if self._is_first_pending:
            self._is_first_pending = False
            if self._is_as_claimed(step):
                return
            attempt = self._redirected(step.target)
        else:
            attempt = next_attempt(self._generation, step.target.model, step.target.endpoint)
        attempt.left_out = ", ".join(step.left_out)[:LEFT_OUT_MAX_CHARS]
        attempt.recovery = step.recovery or ""
        attempt.before_chars = shown_chars
        attempt.queued_s = step.queued_s
        attempt.wait_s = max(0.0, self._waited_s() - step.queued_s)
        self._current, self._waiting_since_s = attempt, None
        if not await self._writer.arun(partial(self._store, ended, attempt, recoveries)):
            raise LeaseLost

    def _is_as_claimed(self, step: upstream.StartedStep) -> bool:
        """Whether the row that the claim stored describes this call already."""
        assert self._current is not None
        claimed_key = (self._current.endpoint_name, self._current.model_name)
        is_usual = not (step.queued_s or self._waiting_since_s or step.left_out)
        return claimed_key == (step.target.endpoint, step.target.model) and is_usual

    def _redirected(self, target: upstream.Target) -> Attempt:
        assert self._current is not None
        self._current.model_name, self._current.endpoint_name = target.model, target.endpoint
        self._current.started_at = timezone.now()
        return self._current

    def _waited_s(self) -> float:
        return 0.0 if self._waiting_since_s is None else monotonic() - self._waiting_since_s

    def _store(self, ended: Attempt | None, attempt: Attempt, recoveries: int) -> bool:
        generation = self._generation
        own = Generation.objects.filter(pk=generation.pk, owner=generation.owner, epoch=generation.epoch)
        if not own.update(calls=attempt.number, recoveries=recoveries):
            return False
        if ended is not None:
            ended.save()
        attempt.save()
        return True

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

    async def abandon_text(self, text: str) -> None:
        """Keep text that a restart removes from the answer: reviewers find it with its attempt."""
        attempts = self._generation.attempts.filter(number=self._shown_number)
        await self._writer.arun(lambda: attempts.update(abandoned_text=text))

    def finish(self, outcome: str) -> None:
        """Save the last attempt; runs in the transaction that ends the generation.

        `outcome`: of a call that is still in progress.
        """
        if self._current is None:
            return
        if self._is_first_pending:
            self._current.delete()
            return
        if self._current.outcome == Attempt.Outcome.RUNNING:
            self._current.outcome = outcome
            self._current.finished_at = self._generation.finished_at
        self._current.save()
