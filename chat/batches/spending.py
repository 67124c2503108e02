"""Budgets of a batch that its provider runs: checked before it is submitted, charged with its results.

Nothing is held meanwhile, since the results may take a day. A batch that runs here reserves row by row, like
every other answer.
"""

from __future__ import annotations

from django.db import transaction

from chat.batches.forecast import forecast
from chat.generation.budgets import PROMPT_MARGIN, amounts_of
from chat.models.attempt import Attempt
from chat.models.batch import Batch
from chat.models.budget import Budget, presence
from chat.models.budget_use import CallAmounts, HeldAmount, charge, open_uses, reserve


def check_fits(batch: Batch) -> None:
    """Check that what a batch is likely to use fits its budgets. Raises BudgetExceeded."""
    if not presence.any_exist():
        return
    likely = forecast(batch)
    tokens = round(likely.input_tokens * PROMPT_MARGIN) + likely.output_tokens
    with transaction.atomic():
        reserve(_uses(batch), CallAmounts(tokens, likely.provider_usd))
        transaction.set_rollback(True)


def count(uses: list[HeldAmount], call: Attempt) -> None:
    """Count what a line used. In the transaction that stores its end."""
    charge(uses, amounts_of(call))


def uses_of(batch: Batch) -> list[HeldAmount]:
    """Return the current periods of its budgets. Before `call` is stored: a new one counts what there is."""
    return _uses(batch) if presence.any_exist() else []


def _uses(batch: Batch) -> list[HeldAmount]:
    return open_uses(Budget.objects.applying_to(batch.user_id, batch.api_key_id), batch.user_id)
