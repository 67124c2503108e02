"""One run: from its claim to the transaction that ends its generation.

The run owns the generation's row while owner and epoch match. It appends what the model sends to the event
log, and ends with one transaction. `runner.py` starts and stops it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from django.conf import settings
from django.utils.translation import gettext

from chat import events, upstream
from chat.errors import RequestRefused
from chat.event_log.lease import LeaseLost
from chat.event_log.log import EventLog
from chat.generation import routing
from chat.generation.attempts import AttemptRecorder, RunningGeneration
from chat.generation.claim import Claimed
from chat.generation.concurrency import ConcurrencyGate, limits_of
from chat.generation.final_text import final_text
from chat.generation.images import KeepImage, erase_images
from chat.generation.outcome import NOT_STORED, FinalText, not_stored, save_outcome, store_text
from chat.generation.prompt import prompt_fitter
from chat.generation.text_buffer import TextBuffer, release_memory_soon
from chat.local_model.supervisor import LocalModel
from chat.models.catalog import Model
from chat.notifications import Notifications
from chat.upstream import errors

logger = logging.getLogger(__name__)


class Run:
    """Calls models along the route, logs what comes, and saves the outcome."""

    def __init__(
        self,
        claimed: Claimed,
        *,
        log: EventLog,
        client: upstream.Client,
        upstream_state: upstream.UpstreamState,
        notifications: Notifications,
        local_model: LocalModel | None,
        gate: ConcurrencyGate,
        keep_image: KeepImage,
    ) -> None:
        """Open the log of the claimed generation. On the event loop, by the task that runs it."""
        generation = claimed.generation
        self._claimed = claimed
        self._generation = generation
        self._log = log
        self._client = client
        self._upstream_state = upstream_state
        self._notifications = notifications
        self._local_model = local_model
        self._gate = gate
        self._keep_image = keep_image
        self._lease = log.open_lease(
            generation.pk,
            owner=generation.owner,
            epoch=generation.epoch,
            seq=claimed.replayed.seq,
            on_failure=self._lease_failed,
        )
        self._text = TextBuffer(generation.pk, claimed.replayed, log.writer)
        self._attempts = AttemptRecorder(
            generation, claimed.first_attempt, log.writer, claimed.used, claimed.hold
        )
        self._budget = upstream.CallBudget(
            settings.CALLS_PER_GENERATION - generation.calls + self._attempts.pending_calls,
            settings.RECOVERIES_PER_GENERATION - generation.recoveries,
            claimed.calls_made,
        )
        self._route: routing.Route | None = None
        self._finished: upstream.Finished | None = None
        self._is_stopping = generation.stop_requested_at is not None
        self._producer: asyncio.Task[events.Terminal] | None = None
        self.task = asyncio.current_task()

    def as_running(self) -> RunningGeneration:
        return self._attempts.as_running()

    def stop(self) -> None:
        """End the run and keep its text."""
        self._is_stopping = True
        self._cancel_producer()

    def _lease_failed(self, failure: Exception) -> None:
        logger.warning("generation %d lost its log: %s", self._generation.pk, failure)
        self._cancel_producer()

    def _cancel_producer(self) -> None:
        if self._producer is not None:
            self._producer.cancel()

    async def run(self) -> None:
        """Run to the end, save the outcome, and notify the user's pages."""
        try:
            await self._finish_somehow(await self._terminal())
        except LeaseLost:
            logger.info("generation %d runs in another process now", self._generation.pk)
        conversation = self._generation.message.conversation
        if not conversation.is_hidden:
            self._notifications.changed(
                self._generation.user_id, conversation.pk, "finished", generation=self._generation.pk
            )

    # -- how it ends --------------------------------------------------------------------------------

    async def _terminal(self) -> events.Terminal:
        """Produce the text and return how it ended. Raises LeaseLost."""
        if self._is_stopping:
            return events.Stopped()
        self._producer = asyncio.create_task(self._produce(), name=f"upstream of {self._generation.pk}")
        try:
            await asyncio.wait({self._producer})
        finally:
            # Does nothing after the end. When this task is cancelled, the call ends with it.
            self._producer.cancel()
        if self._lease.failure is not None:
            return self._log_failed(self._lease.failure)
        if self._is_stopping:
            return events.Stopped()
        return self._result_of(self._producer)

    def _log_failed(self, failure: Exception) -> events.Terminal:
        if isinstance(failure, LeaseLost):
            raise failure
        return not_stored()

    def _result_of(self, producer: asyncio.Task[events.Terminal]) -> events.Terminal:
        try:
            return producer.result()
        except LeaseLost:
            raise
        except errors.UpstreamError as exc:
            self._text.hidden_text = exc.hidden_text or self._text.hidden_text
            self._attempts.failed(exc)
            logger.info("generation %d: %s", self._generation.pk, exc)
            if isinstance(exc, errors.UnknownFinishReason):
                self._generation.finish_reason = exc.detail  # shown in the details
            if self._text.is_displayed:  # the button beside the answer says what can be done
                return events.Interrupted(exc.code, self._describe(exc))
            model = self._model_of(exc.target_key)
            is_program = self._generation.request is not None
            message = routing.describe_to_program(exc, model) if is_program else routing.describe(exc, model)
            return events.Failed(exc.code, message, exc.retry_after_s, exc.param)
        except RequestRefused as refused:  # a budget has no room for the next call
            kind = events.Interrupted if self._text.is_displayed else events.Failed
            return kind(refused.code, refused.message)
        except Exception:
            logger.exception("generation %d failed because of an internal error", self._generation.pk)
            message = gettext("An internal error occurred; the model is not at fault. Try again.")
            if self._text.is_displayed:
                return events.Interrupted("internal", message)
            return events.Failed("internal", message)

    # -- upstream -----------------------------------------------------------------------------------

    async def _produce(self) -> events.Terminal:
        """Wait until the limits of the API key allow it, then answer."""
        async with self._gate.slot(limits_of(self._generation), self._log_position) as waited_s:
            self._attempts.waited(waited_s)
            return await self._answer()

    async def _log_position(self, position: int) -> None:
        await self._append(events.Queued(position))

    async def _answer(self) -> events.Terminal:
        """Call models along the route and log what comes."""
        replayed = self._claimed.replayed
        if self._claimed.refused_by is not None:
            raise self._claimed.refused_by
        if replayed.choices:
            raise errors.ProcessLost  # choices are not recovered
        if replayed.thinking and not (replayed.text or replayed.tool_calls or replayed.images):
            await self._restart(events.Restarted(errors.ProcessLost.code))
        self._route = await routing.find(self._claimed.models, self._local_model)
        if self._route.problem is not None:
            await self._log_switch(self._route.targets[0], self._route.problem)
        steps = upstream.stream(
            self._route.targets,
            await prompt_fitter(self._claimed, self._route.models),
            client=self._client,
            state=self._upstream_state,
            budget=self._budget,
            text_so_far=self._text.text,
            tool_calls=replayed.tool_calls,
            images=len(replayed.images),
            policy=routing.policy(self._generation.api_request),
            priority=routing.PRIORITY[self._generation.source],
            user=self._generation.user_id,
        )
        # Closed at once when we stop reading: the endpoint must not go on writing.
        async with aclosing(steps):
            try:
                return await self._log_steps(steps)
            except errors.ContextTooLong as exc:
                await self._attempts.note_context(self._model_of(exc.target_key), exc)
                raise

    async def _log_steps(self, steps: AsyncIterator[upstream.Step]) -> events.Terminal:
        async for step in steps:
            if isinstance(step, upstream.ReceivedImage):
                await self._add_image(step)
                continue
            match step:
                case events.Delta() | events.ToolCall() | events.Choices():
                    self._attempts.first_delta()
                    self._text.add_step(step)
                    await self._append(step)
                    if self._text.answer_chars > settings.ANSWER_MAX_CHARS or self._text.has_many_logprobs:
                        return events.Completed("length")
                case events.Thinking(text):
                    self._text.add_thinking(text)
                    await self._append(step)
                case events.Restarted():
                    await self._restart(step)
                case events.Queued():
                    await self._append(step)
                case upstream.Finished():
                    self._finished = step
                    self._attempts.completed(step)
                    return events.Completed(step.reason)
                case _:
                    await self._log_call(step)
        raise AssertionError("a stream ends with Finished or raises an error")

    async def _add_image(self, received: upstream.ReceivedImage) -> None:
        number = len(self._text.images) + 1
        image = await self._keep_image(self._generation.user_id, received, number)
        self._attempts.first_delta()
        self._text.add_step(image)
        await self._append(image)

    async def _log_call(self, step: upstream.Step) -> None:
        """Log a step that concerns calls, not text."""
        if isinstance(step, upstream.RetryingStep | upstream.SwitchedStep):
            self._text.hidden_text = step.error.hidden_text or self._text.hidden_text
        self._count_call()
        match step:
            case upstream.StartedStep():
                await self._begin_attempt(step)
                await self._append(events.Started(model=step.target.model, attempt=step.attempt))
            case upstream.RetryingStep():
                self._attempts.failed(step.error)
                await self._attempts.note_context(self._model_of(step.error.target_key), step.error)
                message = self._describe(step.error)
                await self._append(
                    events.Retrying(step.attempt, step.of, step.wait_s, step.error.code, message)
                )
            case upstream.RefusedStep():
                self._attempts.failed(step.error)
                if (model := self._model_of(step.target.key)) is not None:
                    note = partial(model.note_refused, step.parameter, step.error.detail)
                    await self._log.writer.arun(note)
            case upstream.SwitchedStep():
                self._attempts.failed(step.error)
                await self._attempts.note_context(self._model_of(step.error.target_key), step.error)
                await self._log_switch(step.target, step.error)
            case upstream.ContinuedStep():
                await self._log_continuation(step.target, step.error)

    async def _append(self, event: events.Event) -> None:
        await self._log.append(self._lease, event)

    async def _begin_attempt(self, step: upstream.StartedStep) -> None:
        self._text.begin_call()
        recoveries = settings.RECOVERIES_PER_GENERATION - self._budget.recoveries_left
        model = self._model_of(step.target.key)
        await self._attempts.begin(step, model, shown_chars=self._text.chars, recoveries=recoveries)

    async def _log_switch(self, target: upstream.Target, error: errors.UpstreamError) -> None:
        answers = gettext("%(model)s answers instead.") % {"model": self._model_of(target.key)}
        await self._append(events.Switched(target.model, error.code, f"{self._describe(error)} {answers}"))

    async def _log_continuation(self, target: upstream.Target, error: errors.UpstreamError) -> None:
        continues = gettext("%(model)s continues from there.") % {"model": self._model_of(target.key)}
        await self._append(events.Continued(target.model, error.code, f"{self._describe(error)} {continues}"))

    async def _restart(self, event: events.Restarted) -> None:
        """Reset what is displayed; its attempt keeps it for reviewers, unless it returns as reasoning."""
        if self._text.is_displayed and event.reason != events.BECAME_REASONING:
            await self._attempts.abandon(await self._text.text(), self._text.tool_calls)
        self._count_call()
        if self._text.images:
            await self._log.writer.arun(partial(erase_images, self._text.images))
        self._text.reset()
        await self._append(event)

    def _describe(self, error: errors.UpstreamError) -> str:
        """Return what went wrong, in words for users, without advice."""
        return routing.describe(error, self._model_of(error.target_key), is_final=False)

    def _model_of(self, key: tuple[str, str] | None) -> Model | None:
        """Return the row of a target; of the requested model if there was no target."""
        models = self._route.models if self._route is not None else {}
        found = (model for target, model in models.items() if target.key == key)
        return next(found, self._generation.model)

    # -- the end ------------------------------------------------------------------------------------

    async def _finish_somehow(self, terminal: events.Terminal) -> None:
        """Save the outcome; if that fails, as an answer that could not be saved. It must not run for ever."""
        try:
            await self._finish(terminal)
        except LeaseLost:
            raise
        except Exception as exc:
            logger.exception("the end of generation %d could not be saved", self._generation.pk)
            # The endpoint's own values may be what the database refused.
            self._finished, self._generation.finish_reason = None, ""
            await self._finish(self._log_failed(exc))

    async def _finish(self, terminal: events.Terminal) -> None:
        is_stored = not (isinstance(terminal, events.Interrupted) and terminal.code == NOT_STORED)
        self._count_call()
        self._attempts.store_total()
        lease = self._lease if is_stored else None
        final = await final_text(self._generation, self._text, self._log, lease)
        save = partial(save_outcome, self._generation, terminal, final, self._attempts)
        if is_stored:
            await self._log.finish(self._lease, terminal, save)
        else:
            await self._log.writer.arun(save)
        del final, save
        if self._text.is_long:
            # SQLite's module keeps the values bound to a statement until that is used again.
            await self._log.writer.arun(partial(store_text, 0, FinalText("", "", "")))
            release_memory_soon()

    def _count_call(self) -> None:
        """Count what the call in progress has used: before it ends, and before its text is removed."""
        model = self._model_of(self._attempts.target_key)
        prompt_tokens = self._claimed.estimated_prompt
        self._attempts.count(model, prompt_tokens=prompt_tokens, delivered_tokens=self._text.delivered_tokens)
