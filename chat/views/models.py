"""The menu of models at the composer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from chat.models import Model, Preferences
from chat.views.access import AuthenticatedRequest, signed_in


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that users can choose. `facts`: what is known of it, such as its context and price."""

    model: Model
    facts: list[str]
    is_default: bool
    is_favourite: bool

    @property
    def batch_percent(self) -> int | None:
        """What a later answer costs, in percent of the price; None: this model cannot answer later."""
        return batch_percent(self.model)


def batch_percent(model: Model | None) -> int | None:
    """Return what an answer in a batch costs, in percent of the price; None if there is no batch API."""
    if model is None or not model.endpoint.has_batch_api:
        return None
    return model.batch_percent


def model_choices(offered: list[Model], favourites: Iterable[int]) -> list[ModelChoice]:
    """Return the models of the menu: favourites first, then as they are offered, the default first."""
    marked = set(favourites)
    choices = [
        ModelChoice(model, _facts(model), is_default=index == 0, is_favourite=model.pk in marked)
        for index, model in enumerate(offered)
    ]
    return sorted(choices, key=lambda choice: not choice.is_favourite)


def _facts(model: Model) -> list[str]:
    facts = [_("demo, often wrong")] if model.is_demo else []
    if model.context_tokens:
        facts.append(_("%(size)s tokens of context") % {"size": _short(model.context_tokens)})
    prices = model.input_usd_per_million, model.output_usd_per_million
    if all(price is not None and not price for price in prices):
        facts.append(_("free"))
    elif prices[0] is not None and prices[1] is not None:
        named = {"input": _dollars(prices[0]), "output": _dollars(prices[1])}
        facts.append(_("$%(input)s in, $%(output)s out per million tokens") % named)
    return facts


def _short(tokens: int) -> str:
    """Return a number of tokens as models' makers name it: 8000, 128k, 1M."""
    if tokens >= 1_000_000:
        return f"{tokens / 1_000_000:.2g}M"
    return f"{round(tokens / 1000)}k" if tokens >= 10_000 else str(tokens)


def _dollars(price: Decimal) -> str:
    """Return a price with two decimals, or with as many as it needs."""
    shown = f"{price:.2f}"
    return shown if Decimal(shown) == price else f"{price.normalize():f}"


@signed_in("POST")
def favourite(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Mark a model as a favourite, or unmark it."""
    model = get_object_or_404(Model.objects.offered(), pk=pk)
    Preferences.of(request.user).toggle_favourite(model.pk)
    return HttpResponse(status=204) if request.htmx else HttpResponseRedirect(reverse("chat"))
