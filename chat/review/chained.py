"""Responses that continue another one: each request repeats the messages of those before it."""

from __future__ import annotations

from collections.abc import Iterable

from chat.models import Conversation, Generation

# What the API puts in front of the id of a generation (chat.api.responses.ids).
RESPONSE_PREFIX = "resp_"


def chained_from(conversation: Conversation) -> list[Conversation]:
    """Return the conversations whose requests continue a response of this one, also over others."""
    ids = _generations_of([conversation])
    found: dict[object, Conversation] = {}
    while ids:
        names = [f"{RESPONSE_PREFIX}{pk}" for pk in ids]
        # All by one user: a key cannot continue what belongs to others.
        rows = Generation.objects.filter(user=conversation.user_id, request__response__previous__in=names)
        pks = set(rows.values_list("message__conversation", flat=True)) - found.keys() - {conversation.pk}
        new = list(Conversation.objects.filter(pk__in=pks, erasure=None))
        found |= {each.pk: each for each in new}
        ids = _generations_of(new)
    return list(found.values())


def _generations_of(conversations: Iterable[Conversation]) -> list[int]:
    rows = Generation.objects.filter(message__conversation__in=conversations, source=Generation.Source.API)
    return list(rows.values_list("pk", flat=True))
