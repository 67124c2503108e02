"""The prices of a model, and what a call at these prices costs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

MILLION = Decimal(1_000_000)
BATCH_FACTOR = Decimal("0.5")
# Costs are kept to a millionth of a dollar.
COST_STEP = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class CallTokens:
    """The tokens of one call. `cached` is a part of `input`, `reasoning` a part of `output`."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


def _price(label: object, help_text: object = "") -> models.DecimalField[Decimal | None, Decimal | None]:
    return models.DecimalField(
        label,  # type: ignore[arg-type]  # a lazy text
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=help_text,  # type: ignore[arg-type]
    )


class PricedModel(models.Model):
    """The price columns of `Model`. A cost is stored with its call, so a new price changes no old cost."""

    PRICE_FIELDS = (
        "input_usd_per_million",
        "cached_input_usd_per_million",
        "output_usd_per_million",
        "reasoning_usd_per_million",
        "batch_factor",
    )

    input_usd_per_million = _price(_("input price (USD per million tokens)"))
    cached_input_usd_per_million = _price(
        _("cached input price (USD per million tokens)"), _("If empty, cached input costs as much as other.")
    )
    output_usd_per_million = _price(_("output price (USD per million tokens)"))
    reasoning_usd_per_million = _price(
        _("reasoning price (USD per million tokens)"), _("If empty, reasoning costs as much as other output.")
    )
    batch_factor = models.DecimalField(
        _("batch factor"),
        max_digits=4,
        decimal_places=3,
        default=BATCH_FACTOR,
        db_default=BATCH_FACTOR,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text=_("A batch at the provider costs this many times the prices above; 0.5 is half."),
    )
    prices_since = models.DateTimeField(_("prices valid since"), null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    @property
    def has_prices(self) -> bool:
        return self.input_usd_per_million is not None and self.output_usd_per_million is not None

    @property
    def batch_percent(self) -> int:
        """The price of a batch, in percent of the others."""
        return round(self.batch_factor * 100)

    def cost_usd(self, tokens: CallTokens, *, is_batch: bool = False) -> Decimal | None:
        """Return what a call costs; None without prices. `is_batch`: in a batch of the provider."""
        if self.input_usd_per_million is None or self.output_usd_per_million is None:
            return None
        cached = min(tokens.cached, tokens.input)
        reasoning = min(tokens.reasoning, tokens.output)
        cached_price = _or_else(self.cached_input_usd_per_million, self.input_usd_per_million)
        reasoning_price = _or_else(self.reasoning_usd_per_million, self.output_usd_per_million)
        cost = (
            self.input_usd_per_million * (tokens.input - cached)
            + cached_price * cached
            + self.output_usd_per_million * (tokens.output - reasoning)
            + reasoning_price * reasoning
        ) / MILLION
        return (cost * self.batch_factor if is_batch else cost).quantize(COST_STEP)


def _or_else(price: Decimal | None, other: Decimal) -> Decimal:
    return other if price is None else price
