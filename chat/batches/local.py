"""Local bulk: many requests of one user, each a generation that waits in the database."""

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

# Stored in one transaction: running answers wait for at most this many.
SLICE_ROWS = 20


async def store(
    writer: Writer, user: AbstractUser, model: Model, requests: Sequence[ApiRequest], *, batch_id: str
) -> list[int]:
    """Store `requests` as bulk generations; return their ids, in order.

    The same `batch_id` again, of at most 50 characters, adds what is missing and nothing twice. Raises
    RequestRefused: `conflict` if one of them was another request.
    """
    ids: list[int] = []
    for start in range(0, len(requests), SLICE_ROWS):
        part = requests[start : start + SLICE_ROWS]
        ids += await writer.arun(partial(_store_slice, user, model, part, batch_id, start))
    return ids


@transaction.atomic
def _store_slice(
    user: AbstractUser, model: Model, requests: Sequence[ApiRequest], batch_id: str, start: int
) -> list[int]:
    return [
        Conversation.ask_once(
            user,
            each.cleaned(),
            model=model,
            client_id=f"{batch_id}.{number}",
            source=Generation.Source.BATCH,
        ).generation_id
        for number, each in enumerate(requests, start)
    ]
