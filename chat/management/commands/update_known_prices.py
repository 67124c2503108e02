"""manage.py update_known_prices: write the table of published prices anew, from the package genai-prices."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat.usage.known_prices import PATH

# Providers with an OpenAI-compatible API whose prices hold at one host.
HOSTS = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "cerebras": "api.cerebras.ai",
    "cohere": "api.cohere.ai",
    "deepseek": "api.deepseek.com",
    "fireworks": "api.fireworks.ai",
    "google": "generativelanguage.googleapis.com",
    "groq": "api.groq.com",
    "mistral": "api.mistral.ai",
    "openrouter": "openrouter.ai",
    "perplexity": "api.perplexity.ai",
    "together": "api.together.xyz",
    "x-ai": "api.x.ai",
}


class Command(BaseCommand):
    help = "Write the table of published prices anew. Needs the package genai-prices; for developers."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from genai_prices import data_snapshot
        except ImportError as exc:
            raise CommandError("Install genai-prices first: pip install genai-prices") from exc
        providers = {
            HOSTS[provider.id]: dict(sorted(_models(provider).items()))
            for provider in data_snapshot.get_snapshot().providers
            if provider.id in HOSTS
        }
        table = {
            "source": "https://github.com/pydantic/genai-prices (MIT)",
            "columns": ["input", "cached input", "output: US dollars per million tokens"],
            "providers": providers,
        }
        PATH.write_text(json.dumps(table, separators=(",", ":")).replace("],", "],\n") + "\n")
        self.stdout.write(f"{sum(map(len, providers.values()))} models of {len(providers)} providers")


def _models(provider: Any) -> dict[str, list[str | None]]:
    found = {}
    for model in provider.models:
        prices = model.prices[-1].prices if isinstance(model.prices, list) else model.prices
        columns = [_price(getattr(prices, name)) for name in ("input_mtok", "cache_read_mtok", "output_mtok")]
        if columns[0] is not None and columns[2] is not None:
            found[model.id] = columns
    return found


def _price(value: Any) -> str | None:
    """Return a price as text: of the lowest tier, if it depends on the length of the prompt."""
    base = getattr(value, "base", value)
    return None if base is None else format(Decimal(base).normalize(), "f")
