"""The difference between discarded text and the final answer, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# The comparison takes time with the product of both lengths.
WORDS_MAX = 600
SHOWN_CHARS = 20_000
_WORD = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True, slots=True)
class DifferencePart:
    """`kind`: `same`, `removed` (only in the discarded text) or `added` (only in the final one)."""

    kind: str
    text: str


def difference(discarded: str, final: str) -> list[DifferencePart]:
    """Return the parts of both texts in order. Of long texts, only the beginnings are compared."""
    before = _WORD.findall(discarded[:SHOWN_CHARS])
    after = _WORD.findall(final[:SHOWN_CHARS])
    if len(before) > WORDS_MAX or len(after) > WORDS_MAX:
        common = _common_length(before, after)
        parts = [("same", before[:common]), ("removed", before[common:])]
    else:
        parts = []
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            parts += (
                [("same", before[i1:i2])]
                if tag == "equal"
                else [
                    ("removed", before[i1:i2]),
                    ("added", after[j1:j2]),
                ]
            )
    found = [DifferencePart(kind, "".join(words)) for kind, words in parts if words]
    if len(discarded) > SHOWN_CHARS:
        found.append(DifferencePart("same", "…"))
    return found


def _common_length(before: list[str], after: list[str]) -> int:
    pairs = zip(before, after, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
