"""Bulk: many questions of one person, each a generation that waits for its turn in the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from chat.event_log import log as delta_log
from chat.models.catalog import Model
from chat.models.conversation import Conversation
from chat.models.generation import ApiRequest, Generation

# Stored in one transaction: as many as answers in progress can wait for.
SLICE_ROWS = 20


async def astore(
    user: AbstractUser, model: Model, requests: Sequence[ApiRequest], *, batch_id: str
) -> list[int]:
    """Store `requests` as bulk generations; return their ids, in order.

    The same `batch_id` again, of at most 50 characters, adds what is missing and nothing twice. Raises
    RequestRefused: `conflict` if one of them was another request.
    """
    ids: list[int] = []
    for start in range(0, len(requests), SLICE_ROWS):
        part = requests[start : start + SLICE_ROWS]
        ids += await delta_log.awrite(partial(_store, user, model, part, batch_id, start))
    return ids


@transaction.atomic
def _store(
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
