"""Run a batch here: its lines become bulk generations, a bounded number at a time.

The others wait as lines, where they cost neither the heartbeat nor a page anything. A line and its generation
are stored in one transaction, under an id that no second one can have; so a process may die anywhere.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.event_log.writer import Writer
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.models.conversation import Conversation
from chat.models.generation import Generation

# Lines of one batch that run or wait in the queue of bulk. As many as one process runs at a time.
ACTIVE_MAX = 200
# Lines stored or ended in one transaction. Running answers wait for that long.
FEED_LINES = 10
END_LINES = 50
CANCEL_LINES = 500

_STATES: dict[str, str] = {
    Generation.Status.COMPLETED: BatchLine.State.COMPLETED,
    Generation.Status.STOPPED: BatchLine.State.CANCELLED,
}


async def advance(writer: Writer, batch_id: UUID, user_id: int) -> None:
    """Do what can be done for a batch now: count what ended, store further lines, end it."""
    while await writer.arun(partial(end_lines, batch_id)):
        pass
    while await writer.arun(partial(cancel_lines, batch_id)):
        pass
    while await writer.arun(partial(feed, batch_id), user_id=user_id):
        pass


def locked(batch_id: UUID) -> Batch | None:
    """Return the batch, locked to the end of the transaction; None if another process has it."""
    rows = Batch.objects.filter(pk=batch_id)
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    return rows.first()


@transaction.atomic
def end_lines(batch_id: UUID) -> bool:
    """Store how some lines ended whose generations have. Return whether there may be more."""
    batch = locked(batch_id)
    if batch is None:
        return False
    running = batch.lines.filter(state=BatchLine.State.RUNNING)
    ended = list(
        running.exclude(generation__finished_at=None, generation__isnull=False)
        .select_related("generation")
        .defer("generation__request")[:END_LINES]
    )
    for line in ended:
        _end(line)
    BatchLine.objects.bulk_update(ended, ["state", "error_code", "reason"])
    batch.record(ended)
    return len(ended) == END_LINES


def _end(line: BatchLine) -> None:
    generation = line.generation
    if generation is None:
        line.end(BatchLine.State.FAILED, code="erased", reason=_("The answer was erased."))
        return
    state = _STATES.get(generation.status, BatchLine.State.FAILED)
    reason = generation.error_message
    if state == BatchLine.State.CANCELLED:
        reason = _("It was stopped.")
    line.end(state, code=generation.error_code, reason=reason)


@transaction.atomic
def cancel_lines(batch_id: UUID) -> bool:
    """Cancel some waiting lines of a batch that is being cancelled. Return whether there may be more."""
    batch = locked(batch_id)
    if batch is None or batch.status != Batch.Status.CANCELLING:
        return False
    waiting = list(batch.lines.filter(state=BatchLine.State.WAITING)[:CANCEL_LINES])
    for line in waiting:
        line.end(BatchLine.State.CANCELLED, code="cancelled", reason=_("The batch was cancelled."))
    BatchLine.objects.bulk_update(waiting, ["state", "error_code", "reason"])
    batch.record(waiting)
    # Read first: PostgreSQL may join the tables in a way that takes seconds.
    running = batch.lines.filter(state=BatchLine.State.RUNNING).values_list("generation_id", flat=True)
    Generation.objects.filter(pk__in=list(running), stop_requested_at=None).request_stop()
    return len(waiting) == CANCEL_LINES


@transaction.atomic
def feed(batch_id: UUID) -> bool:
    """Store some waiting lines as generations, or end the batch. Return whether there may be more."""
    batch = locked(batch_id)
    if batch is None or not batch.is_active:
        return False
    running = batch.lines.filter(state=BatchLine.State.RUNNING).count()
    if batch.status == Batch.Status.RUNNING:
        room = min(ACTIVE_MAX - running, FEED_LINES)
        waiting = list(batch.lines.filter(state=BatchLine.State.WAITING).order_by("number")[: max(room, 0)])
        _store(batch, waiting)
        if waiting:
            return len(waiting) == FEED_LINES
    if not running:
        _finish(batch)
    return False


def _store(batch: Batch, lines: list[BatchLine]) -> None:
    for line in lines:
        generation_id = ask(batch, line)
        if generation_id is not None:
            line.state, line.generation_id = BatchLine.State.RUNNING, generation_id
    BatchLine.objects.bulk_update(lines, ["state", "error_code", "reason", "generation"])
    batch.record([line for line in lines if line.state == BatchLine.State.FAILED])


def ask(batch: Batch, line: BatchLine) -> int | None:
    """Store the generation of a line, once, and return its id; None: the line has failed instead."""
    if batch.model is None:
        line.end(BatchLine.State.FAILED, code="no_model", reason=_("The model no longer exists."))
        return None
    try:
        return Conversation.ask_once(
            batch.user,
            batch.request_of(line).cleaned(),
            model=batch.model,
            client_id=line.client_id(),
            source=Generation.Source.BATCH,
            api_key=batch.api_key,
        ).generation_id
    except RequestRefused as refused:
        line.end(BatchLine.State.FAILED, code=refused.code, reason=refused.message)
        return None


def _finish(batch: Batch) -> None:
    if batch.status == Batch.Status.PAUSED:
        Batch.objects.filter(pk=batch.pk, status=Batch.Status.PAUSED).update(next_look_at=None)
        return
    batch.refresh_from_db(fields=["completed", "failed"])
    if batch.status == Batch.Status.CANCELLING:
        batch.finish(Batch.Status.CANCELLED)
    elif batch.total and not batch.completed:
        batch.finish(Batch.Status.FAILED, _("No row completed. Each row says why."))
    else:
        batch.finish(Batch.Status.COMPLETED)
