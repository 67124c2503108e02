"""Claim a generation for this process, and read all that its run needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

from django.conf import settings
from django.utils import timezone

from chat.errors import RequestRefused
from chat.event_log.read import ReplayedText, replay
from chat.generation.attempts import next_attempt
from chat.generation.budgets import BudgetHold, open_hold
from chat.generation.turns import without_refused
from chat.generation.usage import UsageTotal, count_call, estimate_prompt, estimate_tokens
from chat.models import rows
from chat.models.attempt import Attempt
from chat.models.budget import presence
from chat.models.budget_use import BudgetExceeded
from chat.models.catalog import Model
from chat.models.generation import Generation, StartedGeneration
from chat.models.message import Message
from chat.models.project_file import ProjectFile
from chat.text import text_of

# How much of a conversation is sent to a model with an unknown context. It is enough for most models, and
# bounds what a turn can cost; if it is too much, the endpoint's error says what fits.
UNKNOWN_CONTEXT_TOKENS = 128_000
# No prompt needs more text than this many bytes per token of context: it is counted with three.
HISTORY_BYTES_PER_TOKEN = 4
# Of large requests, whose text is not read for an estimate.
BYTES_PER_TOKEN = 4


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
    # What those calls used.
    used: UsageTotal
    # Its first call, counted and stored; None if it must not be made, or continues some text.
    first_attempt: Attempt | None = None
    # What it holds of budgets; None: no budget applies.
    hold: BudgetHold | None = None
    # Why it must not be run.
    refused_by: RequestRefused | None = None
    # What the files of its conversation's project cost in the prompt.
    project_tokens: int = 0

    @property
    def is_first_question(self) -> bool:
        """Whether this answers the first question of a conversation."""
        is_chat = self.generation.request is None and not self.generation.prefix
        return is_chat and len(self.history) == 1 and not (self.unread or self.refused)

    def estimated_prompt(self) -> int:
        """Estimate the tokens of the prompt."""
        request = self.generation.api_request
        if request is None:
            system_prompt = self.generation.message.conversation.system_prompt
            files = sum(message.attachment_tokens for message in self.history) + self.project_tokens
            return estimate_prompt([system_prompt, *(message.text for message in self.history)]) + files
        if request.large is not None:
            return request.large.text_bytes // BYTES_PER_TOKEN
        return estimate_prompt(map(text_of, request.messages))


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
    replayed, previous = ReplayedText(), []
    if generation.epoch > 1:  # a previous owner claimed it
        replayed = replay(generation_id)
        previous = list(generation.attempts.all())
    calls_made = Counter((each.endpoint_name, each.model_name) for each in previous)
    models = generation.route()
    history, unread = ([], 0) if generation.request else history_of(generation, models)
    accepted = without_refused(history)
    refused = len(history) - len(accepted)
    claimed = Claimed(
        *(generation, models, accepted, unread, refused, replayed, calls_made, UsageTotal()),
        project_tokens=ProjectFile.tokens_of(generation.message.conversation.project_id),
    )
    lost = _end_lost(claimed, previous)
    claimed = _within_budgets(claimed, lost)
    has_answer = replayed.text or replayed.tool_calls or replayed.choices or replayed.images
    first_attempt = None if has_answer or claimed.refused_by else _first_attempt(generation)
    if first_attempt is not None:
        rows.insert(first_attempt)
        Generation.objects.filter(pk=generation.pk).update(calls=first_attempt.number)
    return replace(claimed, first_attempt=first_attempt)


def _within_budgets(claimed: Claimed, lost: Attempt | None) -> Claimed:
    """Reserve the next call, or say why it must not be made. Raises BudgetExceeded for bulk that can wait.

    `lost`: the call over which a previous owner died.
    """
    generation = claimed.generation
    if generation.model is None or not presence.any_exist():
        return claimed
    hold = None
    try:
        hold = open_hold(generation, generation.model, claimed.estimated_prompt())
        if hold is not None and generation.epoch > 1:
            hold.charge(lost)
            hold = hold.renewed(generation.model, None, estimate_tokens(claimed.replayed.text))
    except BudgetExceeded as exc:
        if exc.fits_later and generation.source == Generation.Source.BATCH and not claimed.replayed.text:
            exc.user_id = generation.user_id
            raise
        return replace(claimed, hold=hold, refused_by=exc)
    return replace(claimed, hold=hold)


def _end_lost(claimed: Claimed, attempts: list[Attempt]) -> Attempt | None:
    """End the call over which the previous owner died and return it; add up what earlier calls used."""
    lost = None
    replayed = claimed.replayed
    names = {(model.endpoint.name, model.name): model for model in claimed.models}
    for attempt in attempts:
        if attempt.outcome == Attempt.Outcome.RUNNING:
            attempt.outcome, attempt.finished_at = Attempt.Outcome.LOST, timezone.now()
            texts = (replayed.thinking, replayed.text[attempt.before_chars :])
            arguments = (call.arguments for call in replayed.tool_calls)
            choices = "".join(piece.written for piece in replayed.choices)
            count_call(
                attempt,
                names.get((attempt.endpoint_name, attempt.model_name)),
                prompt_tokens=claimed.estimated_prompt,
                delivered_tokens=partial(estimate_tokens, choices or "".join((*texts, *arguments))),
            )
            attempt.save()
            lost = attempt
        claimed.used.add(attempt)
    return lost


def claim_as_stored(started: StartedGeneration, owner: str) -> Claimed | None:
    """Claim what the same transaction has stored, as `claim` does, and read as little as possible again.

    Return None if it is a repeat. Raises BudgetExceeded: then nothing must be stored.
    """
    generation = started.generation
    if generation is None:
        return None
    models = generation.route()
    history: list[Message] = []
    unread = 0
    if started.is_new_conversation:
        question = generation.message.parent
        history = [question] if question is not None and generation.request is None else []
    elif generation.request is None:
        history, unread = history_of(generation, models)
    accepted = without_refused(history)
    first_attempt = _first_attempt(generation)
    generation.claim_as_stored(owner)
    if first_attempt is not None:
        first_attempt.epoch = generation.epoch
        rows.insert(first_attempt)
    refused = len(history) - len(accepted)
    claimed = Claimed(
        *(generation, models, accepted, unread, refused, ReplayedText(), Counter(), UsageTotal()),
        first_attempt,
        project_tokens=ProjectFile.tokens_of(generation.message.conversation.project_id),
    )
    if generation.model is None or not presence.any_exist():
        return claimed
    return replace(claimed, hold=open_hold(generation, generation.model, claimed.estimated_prompt()))


def _first_attempt(generation: Generation) -> Attempt | None:
    """Count the first call and return its row, unless it must not be made; saves neither."""
    is_allowed = generation.stop_requested_at is None and generation.calls < settings.CALLS_PER_GENERATION
    if generation.model is None or not is_allowed:
        return None
    return next_attempt(generation, generation.model.name, generation.model.endpoint.name)


def history_of(generation: Generation, models: list[Model]) -> tuple[list[Message], int]:
    """Return the newest messages before an answer that may fit, oldest first, and how many lie before."""
    context_tokens = max(map(context_bound, models), default=0)
    return Message.recent(
        generation.message.conversation,
        generation.message.parent_id,
        max_chars=context_tokens * HISTORY_BYTES_PER_TOKEN,
    )
