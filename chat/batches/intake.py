"""Store an upload as a batch that is ready to start: all of it, or nothing."""

from __future__ import annotations

import logging
from functools import partial
from itertools import batched
from typing import Any

from django.conf import settings

from chat.batches.lines import LineSource
from chat.event_log.writer import Writer
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine

logger = logging.getLogger(__name__)

# Lines stored in one transaction: some milliseconds, for which running answers wait.
SLICE_LINES = 250
DELETED_AT_ONCE = 2_000


def accept(writer: Writer, batch: Batch, source: LineSource) -> Batch:
    """Check an upload, and store the batch and its lines. Raises InputInvalid: nothing is stored then.

    `batch`: a new row, without counts and columns. Takes some seconds for many lines; not on the event loop.
    A process that dies meanwhile leaves a batch that is never listed, which cleanup deletes.
    """
    source.check()
    batch.columns = source.table.columns
    batch.template = source.filled.source if source.filled is not None else ""
    batch.total, batch.prompt_tokens = source.total, source.prompt_tokens
    batch.status = Batch.Status.STORING
    writer.run(partial(batch.save, force_insert=True))
    try:
        for part in batched(source.lines(), SLICE_LINES):
            writer.run(partial(BatchLine.store, batch.pk, part))
    except BaseException:
        writer.run(Batch.objects.filter(pk=batch.pk).delete)
        raise
    writer.run(partial(batch.change_status, (Batch.Status.STORING,), Batch.Status.READY, next_look_at=None))
    batch.refresh_from_db()
    return batch


def new_batch(user: Any, model: Any, name: str, **values: Any) -> Batch:
    """Return a batch to pass to `accept`; not stored. It runs where it is cheaper, if that is possible."""
    runner = Batch.Runner.PROVIDER if model.endpoint.has_batch_api else Batch.Runner.LOCAL
    values.setdefault("runner", runner)
    return Batch(user=user, model=model, model_name=model.name, name=name[:200], **values)


async def start(writer: Writer, batch: Batch) -> None:
    """Start a batch; the next tick of a process finds it. Raises RequestRefused."""
    await writer.arun(batch.start)


def upload_max_bytes() -> int:
    """The largest upload."""
    return settings.BATCH_UPLOAD_MAX_BYTES


async def delete(writer: Writer, batch: Batch) -> None:
    """Delete a batch that is not active, in slices. Its answers are kept like others."""
    own = Batch.objects.filter(pk=batch.pk).exclude(status__in=Batch.ACTIVE)
    await writer.arun(lambda: own.update(status=Batch.Status.STORING))
    while await writer.arun(partial(Batch.delete_some, own, DELETED_AT_ONCE)):
        pass
