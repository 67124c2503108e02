"""Budgets of one answer: the worst likely cost of its next call is reserved, what a call used is settled.

Reserved are the estimated tokens of the prompt times PROMPT_MARGIN, and those of the longest answer: the
limit of the request or of the model's row, else DEFAULT_ANSWER_TOKENS, which is then sent to the model. So a
call uses more than it reserved only if the estimate is further off, or if the endpoint ignores the limit.

What touches rows runs in a transaction of the writer, which may run twice: it changes no state in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from chat.generation.usage import estimate_tokens
from chat.models.api_request import ApiRequest
from chat.models.attempt import Attempt
from chat.models.budget import Budget, presence
from chat.models.budget_use import (
    BudgetReservation,
    CallAmounts,
    HeldAmount,
    charge,
    note_warning,
    open_uses,
    reserve,
    settle,
)
from chat.models.catalog import Model
from chat.models.generation import Generation
from chat.models.message import Message
from chat.models.prices import MILLION, CallTokens

# An estimate is within some 15 % of what the endpoint counts.
PROMPT_MARGIN = 1.15
# The longest answer of a model without a limit.
DEFAULT_ANSWER_TOKENS = 4_096
# Of an image or a file in a program's request.
TOKENS_PER_PART = 1_000


@dataclass(frozen=True, slots=True)
class BudgetHold:
    """What an answer holds of the budgets of its user. `prompt_tokens`: of its next call, estimated."""

    generation_id: int
    held: tuple[HeldAmount, ...]
    prompt_tokens: int
    request: ApiRequest | None
    warning: str = ""

    def renewed(self, model: Model, ended: Attempt | None, more_tokens: int = 0) -> BudgetHold:
        """Count what the call `ended` used, and reserve the next one, of `model`.

        `more_tokens`: text that is sent besides the prompt. Raises BudgetExceeded if it does not fit: `ended`
        is counted then, and what was held is still held.
        """
        self.charge(ended)
        amounts = worst_amounts(self.prompt_tokens + more_tokens, self.request, model)
        held = tuple(reserve(self.held, amounts))
        for each in held:
            own = BudgetReservation.objects.filter(generation_id=self.generation_id, use_id=each.use_id)
            own.update(amount=each.amount)
        return replace(self, held=held)

    def charge(self, ended: Attempt | None) -> None:
        """Count what a call used. Nothing is released."""
        if ended is not None:
            charge(self.held, amounts_of(ended))

    def settle(self, last: Attempt | None) -> None:
        """Count what the last call used, and release everything."""
        own = BudgetReservation.objects.filter(generation_id=self.generation_id)
        open_ids = set(own.values_list("use_id", flat=True))
        held = [each if each.use_id in open_ids else replace(each, amount=0) for each in self.held]
        settle(held, CallAmounts() if last is None else amounts_of(last))
        own.delete()


def answer_limit(request: ApiRequest | None, model: Model) -> int:
    """Return the most tokens that an answer within a budget may have."""
    asked: int | None = None if request is None else request.parameters.get("max_tokens")
    limits = [limit for limit in (asked, model.max_output_tokens) if limit is not None]
    limit: int = min(limits, default=DEFAULT_ANSWER_TOKENS)
    return limit if model.context_tokens is None else min(limit, model.context_tokens)


def worst_amounts(prompt_tokens: int, request: ApiRequest | None, model: Model) -> CallAmounts:
    """Return what a call of `model` is likely to use at most."""
    prompt = round(prompt_tokens * PROMPT_MARGIN)
    if model.context_tokens is not None:
        prompt = min(prompt, model.context_tokens)
    choices = 1 if request is None else request.parameters.get("n") or 1
    answer = answer_limit(request, model) * choices
    costs = [model.cost_usd(CallTokens(prompt, answer, reasoning=thought)) for thought in (0, answer)]
    known = [cost for cost in costs if cost is not None]
    return CallAmounts(prompt + answer, max(known) if known else None)


def amounts_of(attempt: Attempt) -> CallAmounts:
    return CallAmounts((attempt.input_tokens or 0) + (attempt.output_tokens or 0), attempt.cost_usd)


def beside_text(request: ApiRequest | None) -> int:
    """Estimate the tokens of a request's tools, images and files, which are not part of its texts."""
    if request is None:
        return 0
    tools = request.parameters.get("tools")
    parts = (part for message in request.messages for part in _parts(message))
    others: int = sum(part.get("type") != "text" for part in parts if isinstance(part, dict))
    return others * TOKENS_PER_PART + (estimate_tokens(json.dumps(tools)) if tools else 0)


def _parts(message: dict[str, Any]) -> Sequence[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else ()


def open_hold(generation: Generation, model: Model, prompt_tokens: int) -> BudgetHold | None:
    """Reserve the first call of an answer, or take over what a dead process reserved.

    Return None without budgets. Raises BudgetExceeded, which leaves nothing reserved.
    """
    if not presence.any_exist():
        return None
    request = generation.api_request
    others = [generation.prefix] if request else [generation.prefix, model.system_prompt]
    tokens = prompt_tokens + beside_text(request) + sum(map(estimate_tokens, others))
    if request is not None and request.attachments:
        tokens += Message.objects.get(children=generation.message).attachment_tokens
    hold = BudgetHold(generation.pk, (), tokens, request)
    if generation.epoch > 1 and (found := _held_by(generation.pk)):
        return replace(hold, held=found)
    budgets = Budget.objects.applying_to(generation.user_id, generation.api_key_id)
    uses = open_uses(budgets, generation.user_id)
    if not uses:
        return None
    held = reserve(uses, worst_amounts(hold.prompt_tokens, request, model))
    BudgetReservation.objects.bulk_create(
        BudgetReservation(use_id=each.use_id, generation_id=generation.pk, amount=each.amount)
        for each in held
    )
    is_chat = generation.source in {Generation.Source.WEBSOCKET, Generation.Source.FORM}
    warning = note_warning(held, generation.user_id) if is_chat else ""
    return replace(hold, held=tuple(held), warning=warning)


def _held_by(generation_id: int) -> tuple[HeldAmount, ...]:
    rows = BudgetReservation.objects.filter(generation_id=generation_id).select_related(
        "use__budget__user", "use__budget__group", "use__budget__api_key"
    )
    return tuple(HeldAmount(row.use.budget, row.use_id, row.amount) for row in rows.order_by("use_id"))


@dataclass(frozen=True, slots=True)
class EmbeddingHold:
    """What a request for embeddings holds. `ids`: its reservations."""

    held: tuple[HeldAmount, ...]
    ids: tuple[int, ...]

    def settle(self, input_tokens: int | None, cost_usd: Decimal | None) -> None:
        """Count what it used. If its process was taken for dead, what it held has been counted already."""
        deleted, _by_model = BudgetReservation.objects.filter(pk__in=self.ids).delete()
        if deleted:
            settle(self.held, CallAmounts(input_tokens or 0, cost_usd))


def hold_embeddings(
    user_id: int, api_key_id: int, model: Model, tokens: int, owner: str
) -> EmbeddingHold | None:
    """Reserve a request for embeddings of about `tokens`; None without budgets. Raises BudgetExceeded."""
    uses = open_uses(Budget.objects.applying_to(user_id, api_key_id), user_id)
    if not uses:
        return None
    tokens = round(tokens * PROMPT_MARGIN)
    price = model.input_usd_per_million
    held = reserve(uses, CallAmounts(tokens, None if price is None else price * tokens / MILLION))
    rows = [
        BudgetReservation.objects.create(use_id=each.use_id, owner=owner, amount=each.amount) for each in held
    ]
    return EmbeddingHold(tuple(held), tuple(row.pk for row in rows))
