"""Prices that providers publish, to propose them for a model. Staff decide, and may change them.

`known_prices.json` is written by `manage.py update_known_prices`, from the package genai-prices.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chat.models.catalog import Model

PATH = Path(__file__).with_name("known_prices.json")
# What providers add to the name of a model for one of its versions.
_VERSION = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)$")


@dataclass(frozen=True, slots=True)
class KnownPrices:
    """The published prices of a model, in dollars per million tokens. `cached_input` None: as `input`."""

    input: Decimal
    cached_input: Decimal | None
    output: Decimal

    def apply(self, model: Model) -> None:
        """Set the prices of a model, and no others; does not save."""
        model.input_usd_per_million = self.input
        model.cached_input_usd_per_million = self.cached_input
        model.output_usd_per_million = self.output
        model.reasoning_usd_per_million = None


def find(model: Model) -> KnownPrices | None:
    """Return the published prices of a model at its endpoint's provider; None if unknown."""
    host = urlsplit(model.endpoint.base_url).hostname or ""
    models = _table().get(host, {})
    plain = _VERSION.sub("", model.name)
    prices = models.get(model.name) or models.get(plain) or models.get(f"{plain}-latest")
    if prices is None:
        return None
    input_, cached, output = prices
    return KnownPrices(Decimal(input_), None if cached is None else Decimal(cached), Decimal(output))


def _table() -> dict[str, dict[str, Any]]:
    """Return prices by host and name of the model. Read each time: it is rarely needed, and large."""
    table: dict[str, dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))["providers"]
    return table
