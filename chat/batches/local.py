"""Local batches: many requests of one user, each stored as a queued generation."""

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

# Requests stored in one transaction. Running answers wait for that long.
SLICE_ROWS = 20


async def store(
    writer: Writer, user: AbstractUser, model: Model, requests: Sequence[ApiRequest], *, batch_id: str
) -> list[int]:
    """Store `requests` as bulk generations; return their ids, in order.

    A repeat with the same `batch_id` (at most 50 characters) stores only requests that are missing. Raises
    RequestRefused: `conflict` if a stored request differs.
    """
    ids: list[int] = []
    for start in range(0, len(requests), SLICE_ROWS):
        part = requests[start : start + SLICE_ROWS]
        operation = partial(_store_slice, user, model, part, batch_id, start)
        ids += await writer.arun(operation, user_id=user.pk)
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
