"""What a user searches for, as terms, and as the query of each database.

Any text is a valid query. Only tokens, which hold letters, digits and single symbols, reach the database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chat.search.tokens import tokens_of
from chat.text import clean

TERMS_MAX = 8
PHRASE_MAX_TOKENS = 30
QUERY_MAX_CHARS = 1_000
_PART = re.compile(r'["“”„«»]([^"“”„«»]*)["“”„«»]?|([^\s"“”„«»]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """Tokens that stand side by side. `is_prefix`: the last one is the beginning of a word."""

    tokens: tuple[str, ...]
    is_prefix: bool

    @property
    def as_fts5(self) -> str:
        return f'"{" ".join(self.tokens)}"{" *" if self.is_prefix else ""}'

    @property
    def as_tsquery(self) -> str:
        words = [f"'{token}'" for token in self.tokens]
        return f"({' <-> '.join(words)}{':*' if self.is_prefix else ''})"


def terms_of(query: str) -> list[Term]:
    """Return the terms of a query: its words, and its phrases in quotation marks.

    A word of two letters or more is also found as the beginning of a longer one; a phrase is found as it is.
    Empty if there is nothing to search for, such as punctuation alone.
    """
    terms: list[Term] = []
    for part in _PART.finditer(clean(query)[:QUERY_MAX_CHARS]):
        phrase, word = part.groups()
        tokens = tuple(tokens_of(phrase if word is None else word)[:PHRASE_MAX_TOKENS])
        if tokens:
            terms.append(Term(tokens, is_prefix=word is not None and len(tokens[-1]) > 1))
    return list(dict.fromkeys(terms))[:TERMS_MAX]
