"""Local batches: many requests of one user, stored as generations that wait for a worker."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from chat.event_log.writer import Writer
from chat.models.api_request import ApiRequest
from chat.models.catalog import Model
from chat.models.conversation import Conversation
from chat.models.generation import Generation

# Rows per transaction. The writer cannot store deltas meanwhile, so it is short.
SLICE_ROWS = 20


async def store(
    writer: Writer, user: AbstractUser, model: Model, requests: Sequence[ApiRequest], *, batch_id: str
) -> list[int]:
    """Store `requests` as bulk generations. Return their ids, in order.

    `batch_id` has at most 50 characters. A repeat with the same id stores only requests that are missing.
    Raises RequestRefused `conflict` if a request differs from the one stored before.
    """
    ids: list[int] = []
    for start in range(0, len(requests), SLICE_ROWS):
        rows = requests[start : start + SLICE_ROWS]
        ids += await writer.arun(partial(_store_slice, user, model, rows, batch_id, start))
    return ids


@transaction.atomic
def _store_slice(
    user: AbstractUser, model: Model, requests: Sequence[ApiRequest], batch_id: str, start: int
) -> list[int]:
    return [
        Conversation.ask_once(
            user,
            request.cleaned(),
            model=model,
            client_id=f"{batch_id}.{number}",
            source=Generation.Source.BATCH,
        ).generation_id
        for number, request in enumerate(requests, start)
    ]
