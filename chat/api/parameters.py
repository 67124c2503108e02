"""The names of a request's parameters: known ones, vendor extras that are passed on, and typing errors."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import SequenceMatcher
from typing import Any

from chat.api.invalid_body import InvalidBody

# How similar a name must be to a known one to count as a typing error.
SIMILARITY = 0.86
NAME_MAX_CHARS = 100
_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_MAX_CHARS}}}")
# Names of vendors that resemble a known one.
VENDOR_NAMES = frozenset(
    {"models", "repeat_penalty", "typical_p", "top_a", "top_n", "min_tokens", "best_of", "options"}
)


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def extras_of(raw: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the parameters that are not known, for the model's server.

    Raises InvalidBody for a name that is probably a misspelt known one: its value would have no effect.
    """
    extras = {name: value for name, value in raw.items() if name not in known}
    for name in extras:
        meant = meant_by(name, known)
        if meant is not None:
            raise InvalidBody(
                "unknown_parameter",
                _("Unknown parameter “%(name)s”. Did you mean “%(meant)s”?"),
                {"name": name[:60], "meant": meant},
                name[:60],
            )
        if _NAME.fullmatch(name) is None:
            raise InvalidBody(
                "unknown_parameter",
                _("Unknown parameter “%(name)s”. Names have letters, digits and “_.-”, at most %(limit)s."),
                {"name": name[:60], "limit": NAME_MAX_CHARS},
                name[:60],
            )
    return extras


def meant_by(name: str, known: Collection[str]) -> str | None:
    """Return the known name that a misspelt one probably means, or None."""
    if name in VENDOR_NAMES:
        return None
    plain = _plain(name)
    best = max(known, key=lambda each: _similarity(plain, _plain(each)))
    return best if _similarity(plain, _plain(best)) >= SIMILARITY else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _similarity(one: str, other: str) -> float:
    if not one or abs(len(one) - len(other)) > 2:
        return 0.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
