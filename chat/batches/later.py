"""Answers of the chat that are given later, at the batch price: one question is one batch of its provider.

The answer waits as a generation that no process claims, and ends with the line of its batch.
"""

from __future__ import annotations

from functools import partial

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import events
from chat.batches import spending
from chat.errors import RequestRefused
from chat.event_log.writer import Writer
from chat.generation import prompt
from chat.generation.attempts import AttemptRecorder
from chat.generation.outcome import FinalText, save_outcome
from chat.generation.runner import GenerationRunner
from chat.generation.start import AskOperation, store
from chat.generation.usage import estimate_prompt
from chat.models import rows
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.models.generation import Generation, StartedGeneration

# Answers of one user that wait.
WAITING_MAX = 100
# Stopped answers that one round ends.
STOPPED_AT_ONCE = 50


async def ask_later(
    runner: GenerationRunner, user: AbstractUser, operation: AskOperation
) -> StartedGeneration:
    """Store a question of the chat and the batch that brings its answer. Raises RequestRefused."""
    started = await store(runner.log.writer, user, partial(_store, operation))
    if not started.is_repeat:
        what = "created" if started.is_new_conversation else "selected"
        runner.notifications.changed(user.pk, started.conversation_id, what)
    return started


# For sync views. Within a server it runs on its event loop.
ask_later_sync = async_to_sync(ask_later)


@transaction.atomic
def _store(operation: AskOperation) -> StartedGeneration:
    started = operation()
    generation = started.generation
    if generation is None:
        return started
    model = generation.model
    if model is None or not model.endpoint.has_batch_api:
        text = _("This model cannot answer later. Send the message without that choice, or choose another.")
        raise RequestRefused("no_batch_api", text)
    waiting = Generation.objects.active().at_provider().filter(user_id=generation.user_id)
    if waiting.count() >= WAITING_MAX:
        text = _("%(limit)d of your answers are still to come. Wait for some of them, or cancel some.")
        raise RequestRefused("too_many_waiting", text % {"limit": WAITING_MAX})
    generation.owner, generation.source = Generation.AT_PROVIDER, Generation.Source.BATCH
    fitted = prompt.of_chat(generation, model)
    generation.left_out = fitted.left_out
    changed = {name: getattr(generation, name) for name in ("owner", "source", "left_out")}
    rows.update(Generation, generation.pk, changed)
    now = timezone.now()
    batch = Batch.objects.create(
        user_id=generation.user_id,
        model=model,
        model_name=model.name,
        name=_("Question of a chat"),
        runner=Batch.Runner.PROVIDER,
        status=Batch.Status.RUNNING,
        is_question=True,
        total=1,
        prompt_tokens=estimate_prompt(str(each["content"]) for each in fitted.prompt.messages),
        started_at=now,
        next_look_at=now,
    )
    batch.lines.create(number=1, custom_id="1", generation=generation)
    spending.check_fits(batch)
    return started


def end_unanswered(writer: Writer, line: BatchLine) -> None:
    """End the answer of a line that has ended without one. In the transaction that stores the line's end."""
    generation = line.generation
    if generation is None or generation.finished_at is not None:
        return
    terminal: events.Terminal = events.Failed(line.error_code, line.reason)
    if line.state == BatchLine.State.CANCELLED:
        terminal = events.Stopped()
    save_outcome(generation, terminal, FinalText("", "", ""), AttemptRecorder(generation, None, writer))


def stopped() -> list[int]:
    """Return ids of answers that wait although their stop was requested."""
    waiting = Generation.objects.active().at_provider().filter(stop_requested_at__isnull=False)
    return list(waiting.order_by("pk").values_list("pk", flat=True)[:STOPPED_AT_ONCE])


async def end_stopped(runner: GenerationRunner, generation_ids: list[int]) -> None:
    """End answers whose stop was requested, at once, and have their batches cancelled."""
    writer = runner.log.writer
    for pk in generation_ids:
        ended = await writer.arun(partial(_end_stopped, writer, pk))
        if ended is not None:
            conversation = ended.message.conversation_id
            runner.notifications.changed(ended.user_id, conversation, "finished", generation=pk)


@transaction.atomic
def _end_stopped(writer: Writer, generation_id: int) -> Generation | None:
    found = Generation.objects.active().at_provider().select_related("message__conversation")
    generation = found.filter(pk=generation_id).first()
    if generation is None:
        return None
    # If the provider answers all the same, that is counted when its batch has ended.
    for batch in Batch.objects.filter(lines__generation=generation):
        batch.change_status((Batch.Status.RUNNING,), Batch.Status.CANCELLING)
    save_outcome(
        generation, events.Stopped(), FinalText("", "", ""), AttemptRecorder(generation, None, writer)
    )
    return generation


async def notify(runner: GenerationRunner, batch: Batch, what: str) -> None:
    """Tell the pages of its user that a question's answer has ended or waits for something else."""
    line = await batch.lines.select_related("generation__message").afirst()
    generation = line.generation if line is not None else None
    if generation is not None:
        conversation = generation.message.conversation_id
        runner.notifications.changed(batch.user_id, conversation, what, generation=generation.pk)
