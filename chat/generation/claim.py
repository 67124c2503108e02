"""Claim a generation for this process, and read all that its run needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from chat.event_log.read import ReplayedText, replay
from chat.generation.attempts import next_attempt
from chat.generation.turns import without_refused
from chat.models.attempt import Attempt
from chat.models.catalog import Model
from chat.models.generation import Generation
from chat.models.message import Message

# How much of a conversation is sent to a model with an unknown context. It is enough for most models, and
# bounds what a turn can cost; if it is too much, the endpoint's error says what fits.
UNKNOWN_CONTEXT_TOKENS = 128_000
# No prompt needs more text than this many bytes per token of context: it is counted with three.
HISTORY_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Claimed:
    """A generation that this process owns, and what its run needs to read."""

    generation: Generation
    # The requested model and its fallbacks, in order.
    models: list[Model]
    history: list[Message]
    # How many messages lie before `history`.
    unread: int
    # How many questions that a provider refused are left out of `history`.
    refused: int
    # What a previous owner wrote, without the prefix.
    replayed: ReplayedText
    # Calls that previous owners made, by (endpoint, model).
    calls_made: Counter[tuple[str, str]]
    # Its first call, counted and stored; None if it must not be made, or continues some text.
    first_attempt: Attempt | None


def context_bound(model: Model) -> int:
    """Return how many tokens prompt and answer may have: the model's context, or a bound if it is unknown."""
    return model.context_tokens or UNKNOWN_CONTEXT_TOKENS


def claim(generation_id: int, owner: str, from_owner: str) -> Claimed | None:
    """Claim a generation, count its first call, and read the prompt: one transaction before the first delta.

    `from_owner`: the process to take it over from; empty: it has no owner. Return None if it is not
    available.
    """
    generation = Generation.claim(generation_id, owner=owner, from_owner=from_owner)
    if generation is None:
        return None
    replayed = ReplayedText()
    calls_made: Counter[tuple[str, str]] = Counter()
    if generation.epoch > 1:  # a previous owner claimed it
        generation.attempts.filter(outcome=Attempt.Outcome.RUNNING).update(
            outcome=Attempt.Outcome.LOST, finished_at=timezone.now()
        )
        replayed = replay(generation_id)
        calls_made.update(generation.attempts.values_list("endpoint_name", "model_name"))
    models = generation.route()
    history, unread = ([], 0) if generation.request else _history(generation, models)
    accepted = without_refused(history)
    first_attempt = None if replayed.text else _first_attempt(generation)
    refused = len(history) - len(accepted)
    return Claimed(generation, models, accepted, unread, refused, replayed, calls_made, first_attempt)


def _first_attempt(generation: Generation) -> Attempt | None:
    is_allowed = generation.stop_requested_at is None and generation.calls < settings.CALLS_PER_GENERATION
    if generation.model is None or not is_allowed:
        return None
    attempt = next_attempt(generation, generation.model.name, generation.model.endpoint.name)
    attempt.save()
    Generation.objects.filter(pk=generation.pk).update(calls=attempt.number)
    return attempt


def _history(generation: Generation, models: list[Model]) -> tuple[list[Message], int]:
    context_tokens = max(map(context_bound, models), default=0)
    return generation.message.conversation.messages.recent(
        generation.message.parent_id, max_chars=context_tokens * HISTORY_BYTES_PER_TOKEN
    )
