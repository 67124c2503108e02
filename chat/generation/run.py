"""One claimed generation, from its claim to its last transaction.

It owns the generation's row while owner and epoch say so, writes what the model sends to the delta log,
and ends with one transaction. `generations` starts and stops it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import monotonic

from channels.db import database_sync_to_async
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext

from chat import events, notifications, rendering, upstream
from chat.event_log import log as delta_log
from chat.event_log.log import LeaseLost
from chat.generation import prompt
from chat.generation import routing as route
from chat.generation.text_buffer import Answer
from chat.models.catalog import Model
from chat.models.conversation import Message
from chat.models.generation import Attempt, Generation
from chat.models.large_request import LargeRequest
from chat.models.process import PROCESS_ID
from chat.upstream import errors

logger = logging.getLogger(__name__)

# Of a context that was refused as too long, what the one smaller try uses when the endpoint gives no figure.
SMALLER_SHARE = 0.5
# Our estimate of tokens is rough; a figure of the endpoint's is not used to its edge.
CAUTION = 0.9
# No prompt needs more text than this many bytes per token of context.
HISTORY_BYTES_PER_TOKEN = 8


# -- claiming --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claimed:
    """A generation that is ours, and all that its run needs to read."""

    generation: Generation
    # The model that was asked and its fallbacks, in order.
    models: list[Model]
    history: list[Message]
    earlier: int
    # What was written before it was claimed, less its prefix.
    state: delta_log.ReplayedText
    # Calls made before, by endpoint and model.
    made: Counter[tuple[str, str]]
    # Its first call, counted and stored; none if it must not be made, or goes on after some text.
    attempt: Attempt | None


def claim(generation_id: int, from_owner: str) -> Claimed | None:
    """Claim, count the first call, and read the prompt: one transaction before the first delta."""
    generation = Generation.claim(generation_id, owner=PROCESS_ID, from_owner=from_owner)
    if generation is None:
        return None
    state = delta_log.ReplayedText()
    made: Counter[tuple[str, str]] = Counter()
    if generation.epoch > 1:  # somebody had it before
        generation.attempts.filter(outcome=Attempt.Outcome.RUNNING).update(
            outcome=Attempt.Outcome.LOST, finished_at=timezone.now()
        )
        state = delta_log.state(generation_id)
        made.update(generation.attempts.values_list("endpoint_name", "model_name"))
    models = generation.route()
    history, earlier = ([], 0) if generation.request else _history(generation, models)
    attempt = None
    if (
        generation.model
        and not state.text
        and not generation.stop_requested_at
        and generation.calls < settings.CALLS_PER_GENERATION
    ):
        attempt = _new_attempt(generation, generation.model.name, generation.model.endpoint.name)
        attempt.save()
        Generation.objects.filter(pk=generation_id).update(calls=attempt.number)
    return Claimed(generation, models, history, earlier, state, made, attempt)


def _history(generation: Generation, models: list[Model]) -> tuple[list[Message], int]:
    context_tokens = max((model.context_tokens for model in models), default=0)
    return generation.message.conversation.recent(
        generation.message.parent_id, max_chars=context_tokens * HISTORY_BYTES_PER_TOKEN
    )


def _new_attempt(generation: Generation, model_name: str, endpoint_name: str) -> Attempt:
    """Count the next call of a generation; does not save."""
    generation.calls += 1
    return Attempt(
        generation=generation,
        number=generation.calls,
        epoch=generation.epoch,
        model_name=model_name,
        endpoint_name=endpoint_name,
    )


# -- running ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """A generation that runs here; `model`: whoever is being asked now."""

    id: int
    model: str
    since: datetime | None


class Run:
    """Asks along the route, logs what comes, and writes the end."""

    def __init__(self, claimed: Claimed, client: upstream.Client, ladder: upstream.UpstreamState) -> None:
        """Open the log of what was claimed. On the event loop, by the task that runs it."""
        self._claimed = claimed
        self._client = client
        self._ladder = ladder
        self._generation = claimed.generation
        self._asked = claimed.generation.asked
        # The stored messages of a large request.
        self._encoded: list[bytes] = []
        self._lease = delta_log.open_lease(
            claimed.generation.pk,
            owner=PROCESS_ID,
            epoch=claimed.generation.epoch,
            seq=claimed.state.seq,
            on_failure=self._lease_failed,
        )
        self._answer = Answer(claimed.generation.pk, claimed.state)
        # The call that is under way or was the last. The claim has stored the first one, to save a
        # transaction before the first delta; it has not been made until `Started` says so.
        self._attempt = claimed.attempt
        self._is_first_call = claimed.attempt is not None
        self._budget = upstream.Budget(
            settings.CALLS_PER_GENERATION - claimed.generation.calls + self._is_first_call,
            settings.RECOVERIES_PER_GENERATION - claimed.generation.recoveries,
            claimed.made,
        )
        # The call whose text was the last on the screens.
        self._text_from = claimed.generation.calls
        self._route: route.Route | None = None
        self._fitted: dict[upstream.Target, prompt.Fitted] = {}
        # Since when the next call is being waited for.
        self._idle_since_s: float | None = None
        self._usage: upstream.Usage | None = None
        self._answered_by: upstream.Target | None = None
        self._is_stopping = claimed.generation.stop_requested_at is not None
        self._producer: asyncio.Task[events.Terminal] | None = None
        self.task = asyncio.current_task()

    def as_running(self) -> Running:
        model = self._attempt.model_name if self._attempt else self._generation.model_name
        return Running(self._generation.pk, model, self._generation.started_at)

    def stop(self) -> None:
        """End it and keep its text."""
        self._is_stopping = True
        self._cancel_producer()

    def _lease_failed(self, failure: Exception) -> None:
        logger.warning("generation %d lost its log: %s", self._generation.pk, failure)
        self._cancel_producer()

    def _cancel_producer(self) -> None:
        if self._producer is not None:
            self._producer.cancel()

    async def to_its_end(self) -> None:
        """Run it, store how it ended, and tell the person's pages."""
        try:
            await self._finish(await self._outcome())
        except LeaseLost:
            logger.info("generation %d runs elsewhere now", self._generation.pk)
        conversation = self._generation.message.conversation
        if conversation.is_listed:
            await notifications.achanged(
                self._generation.user_id, conversation.pk, "finished", generation_id=self._generation.pk
            )

    async def _outcome(self) -> events.Terminal:
        """Produce the text and say how it ended. Raises LeaseLost."""
        if self._is_stopping:
            return events.Stopped()
        self._producer = asyncio.create_task(self._produce(), name=f"upstream of {self._generation.pk}")
        try:
            await asyncio.wait({self._producer})
        finally:
            # Nothing to do after the end; when we are cancelled ourselves, the call ends with us.
            self._producer.cancel()
        if self._lease.failure is not None:
            return self._log_failed(self._lease.failure)
        if self._is_stopping:
            return events.Stopped()
        return self._ending(self._producer)

    def _log_failed(self, failure: Exception) -> events.Terminal:
        if isinstance(failure, LeaseLost):
            raise failure
        message = gettext("The answer could not be stored. Ask again; if it happens again, tell the staff.")
        return events.Interrupted("not_stored", message)

    def _ending(self, producer: asyncio.Task[events.Terminal]) -> events.Terminal:
        try:
            return producer.result()
        except LeaseLost:
            raise
        except errors.UpstreamError as exc:
            self._note_failure(exc)
            logger.info("generation %d: %s", self._generation.pk, exc)
            model = self._model_of(exc.target_key)
            if self._has_new_text():  # what can be done is the button beside it
                return events.Interrupted(exc.code, route.describe(exc, model, is_final=False))
            return events.Failed(exc.code, route.describe(exc, model), exc.retry_after_s)
        except Exception:
            logger.exception("generation %d failed for a reason of our own", self._generation.pk)
            message = gettext("Something went wrong in this program, not in the model. Try again.")
            return (
                events.Interrupted("internal", message)
                if self._has_new_text()
                else events.Failed("internal", message)
            )

    def _has_new_text(self) -> bool:
        return self._answer.chars > 0

    async def _produce(self) -> events.Terminal:
        """Ask along the route and log what comes."""
        if self._asked is not None and self._asked.large is not None:
            read_messages = database_sync_to_async(LargeRequest.messages_of)
            self._encoded = await read_messages(self._generation.pk)
        if self._claimed.state.thinking and not self._claimed.state.text:
            await self._begin_anew(events.Restarted(errors.ProcessLost.code))
        self._route = await route.find(self._claimed.models)
        if self._route.problem is not None:
            await self._log_switch(self._route.targets[0], self._route.problem)
        steps = upstream.stream(
            self._route.targets,
            self._prompt_for,
            client=self._client,
            state=self._ladder,
            budget=self._budget,
            text_so_far=self._answer.text,
            policy=route.policy(),
            priority=_PRIORITY[self._generation.source],
            user=self._generation.user_id,
        )
        # Closed here and now when we stop reading: the endpoint must not write on for nobody.
        async with aclosing(steps):
            return await self._log_steps(steps)

    async def _log_steps(self, steps: AsyncIterator[upstream.Step]) -> events.Terminal:
        async for step in steps:
            match step:
                case events.Delta(text):
                    self._note_first_delta()
                    self._answer.add(text)
                    await delta_log.append(self._lease, step)
                    if self._answer.chars > settings.ANSWER_MAX_CHARS:
                        return events.Completed("length")
                case events.Thinking(text):
                    self._answer.add_thinking(text)
                    await delta_log.append(self._lease, step)
                case events.Restarted():
                    await self._begin_anew(step)
                case events.Queued():
                    await delta_log.append(self._lease, step)
                case upstream.StartedStep():
                    await self._begin_attempt(step)
                    await delta_log.append(
                        self._lease, events.Started(model=step.target.model, attempt=step.attempt)
                    )
                case upstream.RetryingStep():
                    self._note_failure(step.error)
                    message = route.describe(
                        step.error, self._model_of(step.error.target_key), is_final=False
                    )
                    await delta_log.append(
                        self._lease,
                        events.Retrying(step.attempt, step.of, step.wait_s, step.error.code, message),
                    )
                case upstream.SwitchedStep():
                    self._note_failure(step.error)
                    await self._log_switch(step.target, step.error)
                case upstream.ContinuedStep():
                    await self._log_continuation(step.target, step.error)
                case upstream.Finished():
                    self._usage, self._answered_by = step.usage, step.target
                    return events.Completed(step.reason)
        raise AssertionError("a stream ends with Finished or an error")

    # -- where to ask and what ----------------------------------------------------------------------

    def _prompt_for(
        self,
        target: upstream.Target,
        *,
        partial: str,
        may_prefill: bool,
        refused: errors.ContextTooLong | None,
    ) -> upstream.Prompt | None:
        """Build what fits a model; after it refused that, once, something smaller."""
        before = self._fitted.get(target)
        room = before.room if before is not None else None
        if refused is not None and before is not None:
            if self._asked is not None or room is not None or len(before.prompt.messages) < 2:
                return None
            room = int(before.tokens * min(refused.fits or SMALLER_SHARE, 1.0) * CAUTION)
        fitted = self._fitted[target] = self._fit(self._models[target], partial, may_prefill, room)
        self._generation.left_out = fitted.left_out
        return fitted.prompt

    def _fit(self, model: Model, partial: str, may_prefill: bool, room: int | None) -> prompt.Fitted:
        if self._asked is not None:
            partial = self._generation.prefix + partial
            return prompt.as_asked(
                self._asked, model, encoded=self._encoded, partial=partial, may_prefill=may_prefill
            )
        conversation = self._generation.message.conversation
        return prompt.fit(
            self._claimed.history,
            model,
            earlier=self._claimed.earlier,
            system_prompt=conversation.system_prompt,
            temperature=conversation.temperature,
            partial=self._generation.prefix + partial,
            may_prefill=may_prefill,
            room=room,
        )

    @property
    def _models(self) -> dict[upstream.Target, Model]:
        return self._route.models if self._route is not None else {}

    def _model_of(self, key: tuple[str, str] | None) -> Model | None:
        """Return the row of whoever was asked; of the model that was meant, if nobody was."""
        found = (model for target, model in self._models.items() if target.key == key)
        return next(found, self._generation.model)

    async def _log_switch(self, target: upstream.Target, error: errors.UpstreamError) -> None:
        why = route.describe(error, self._model_of(error.target_key), is_final=False)
        answers = gettext("%(model)s answers instead.") % {"model": self._model_of(target.key)}
        await delta_log.append(self._lease, events.Switched(target.model, error.code, f"{why} {answers}"))

    async def _log_continuation(self, target: upstream.Target, error: errors.UpstreamError) -> None:
        why = route.describe(error, self._model_of(error.target_key), is_final=False)
        goes_on = gettext("%(model)s goes on from there.") % {"model": self._model_of(target.key)}
        await delta_log.append(self._lease, events.Continued(target.model, error.code, f"{why} {goes_on}"))

    async def _begin_anew(self, step: events.Restarted) -> None:
        """Take the text off the screens; reviewers find it with the call that it ended with."""
        text = await self._answer.text()
        if text:
            abandoned = self._generation.attempts.filter(number=self._text_from)
            await delta_log.awrite(lambda: abandoned.update(abandoned_text=text))
        self._answer.begin_anew()
        await delta_log.append(self._lease, step)

    # -- attempts -----------------------------------------------------------------------------------

    async def _begin_attempt(self, step: upstream.StartedStep) -> None:
        """Count the call and store its row before it is made. Raises LeaseLost."""
        target = step.target
        ended = self._attempt
        if self._is_first_call:
            assert ended is not None
            self._is_first_call = False
            if (ended.model_name, ended.endpoint_name) == (target.model, target.endpoint) and not (
                step.queued_s or self._idle_since_s
            ):
                return
            self._attempt, ended = ended, None
            self._attempt.model_name, self._attempt.endpoint_name = target.model, target.endpoint
            self._attempt.started_at = timezone.now()
        else:
            self._attempt = _new_attempt(self._generation, target.model, target.endpoint)
        self._attempt.recovery = step.recovery or ""
        self._attempt.before_chars = self._answer.chars
        self._attempt.queued_s = step.queued_s
        self._attempt.wait_s = max(0.0, self._idle_s() - step.queued_s)
        self._idle_since_s = None
        if not await delta_log.awrite(partial(self._store_attempt, ended, self._attempt)):
            raise LeaseLost

    def _idle_s(self) -> float:
        return 0.0 if self._idle_since_s is None else monotonic() - self._idle_since_s

    def _store_attempt(self, ended: Attempt | None, begun: Attempt) -> bool:
        mine = Generation.objects.filter(
            pk=self._generation.pk, owner=PROCESS_ID, epoch=self._generation.epoch
        )
        recoveries = settings.RECOVERIES_PER_GENERATION - self._budget.recoveries_left
        if not mine.update(calls=begun.number, recoveries=recoveries):
            return False
        if ended is not None:
            ended.save()
        begun.save()
        return True

    def _note_first_delta(self) -> None:
        if self._generation.first_delta_at is None:
            self._generation.first_delta_at = timezone.now()
        if self._attempt is not None:
            self._text_from = self._attempt.number
            if self._attempt.first_delta_at is None:
                self._attempt.first_delta_at = timezone.now()

    def _note_failure(self, exc: errors.UpstreamError) -> None:
        self._idle_since_s = self._idle_since_s or monotonic()
        if self._is_first_call:
            return  # no call was made
        if self._attempt is not None and self._attempt.outcome == Attempt.Outcome.RUNNING:
            self._attempt.outcome = Attempt.Outcome.FAILED
            self._attempt.error_code = exc.code
            self._attempt.error_detail = exc.detail
            self._attempt.finished_at = timezone.now()

    # -- the end ------------------------------------------------------------------------------------

    async def _finish(self, ending: events.Terminal) -> None:
        is_stored = not (isinstance(ending, events.Interrupted) and ending.code == "not_stored")
        new_text, thinking = await (self._answer.read() if is_stored else self._answer.committed())
        text = self._generation.prefix + new_text
        html = await rendering.arender(text)
        save = partial(self._save, ending, text, thinking, html)
        if is_stored:
            await delta_log.finish(self._lease, ending, save)
        else:
            await delta_log.awrite(save)
        del text, new_text, thinking, save
        if self._answer.is_long:
            # SQLite's module keeps what was bound to a statement until that is used again.
            await delta_log.awrite(partial(_store_text, 0, "", "", ""))
            self._answer.give_back()

    def _save(self, ending: events.Terminal, text: str, thinking: str, html: str) -> None:
        """Write the final state; runs in the transaction of the last event."""
        generation = self._generation
        mine = Generation.objects.active().filter(pk=generation.pk, owner=PROCESS_ID, epoch=generation.epoch)
        generation.finished_at = timezone.now()
        generation.status = _STATUS[type(ending)]
        if isinstance(ending, events.Completed):
            generation.finish_reason = ending.finish_reason
        elif isinstance(ending, events.Failed | events.Interrupted):
            generation.error_code, generation.error_message = ending.code, ending.message
        self._set_usage(text)
        generation.calls -= self._is_first_call  # counted by the claim, and never made
        if not mine.update(**{name: getattr(generation, name) for name in _FINAL_FIELDS}):
            raise LeaseLost
        _store_text(generation.message_id, text, thinking, html)
        if self._is_first_call and self._attempt is not None:
            self._attempt.delete()
        elif self._attempt is not None:
            if self._attempt.outcome == Attempt.Outcome.RUNNING:
                self._attempt.outcome = _OUTCOME[type(ending)]
                self._attempt.finished_at = generation.finished_at
            self._attempt.save()

    def _set_usage(self, text: str) -> None:
        usage = self._usage
        model = self._model_of(self._answered_by.key if self._answered_by else None)
        if usage is not None and usage.prompt_tokens is not None and usage.completion_tokens is not None:
            self._generation.set_usage(
                usage.prompt_tokens, usage.completion_tokens, is_estimated=False, model=model
            )
        elif self._has_new_text():
            asked = sum(prompt.tokens_in(message.text) for message in self._claimed.history)
            if self._asked is not None:
                asked = prompt.tokens_of(self._asked)
            answered = prompt.tokens_in(text[len(self._generation.prefix) :])
            self._generation.set_usage(asked, answered, is_estimated=True, model=model)


def _store_text(message_id: int, text: str, thinking: str, html: str) -> None:
    Message.objects.filter(pk=message_id).update(text=text, thinking=thinking, html=html)


_PRIORITY: dict[str, upstream.QueuePriority] = {
    Generation.Source.WEBSOCKET: upstream.QueuePriority.INTERACTIVE,
    Generation.Source.FORM: upstream.QueuePriority.INTERACTIVE,
    Generation.Source.API: upstream.QueuePriority.API,
    Generation.Source.COMMAND: upstream.QueuePriority.API,
    Generation.Source.BATCH: upstream.QueuePriority.BULK,
}
_STATUS: dict[type[events.Terminal], str] = {
    events.Completed: Generation.Status.COMPLETED,
    events.Stopped: Generation.Status.STOPPED,
    events.Failed: Generation.Status.FAILED,
    events.Interrupted: Generation.Status.INTERRUPTED,
}
_OUTCOME: dict[type[events.Terminal], str] = {
    events.Completed: Attempt.Outcome.COMPLETED,
    events.Stopped: Attempt.Outcome.STOPPED,
    events.Failed: Attempt.Outcome.FAILED,
    events.Interrupted: Attempt.Outcome.FAILED,
}
_FINAL_FIELDS = (
    "status",
    "calls",
    "finish_reason",
    "error_code",
    "error_message",
    "left_out",
    "first_delta_at",
    "finished_at",
    "input_tokens",
    "output_tokens",
    "is_usage_estimated",
    "cost_usd",
)
