"""Where the terms of a search are in a text, for highlighting, and the part of the text around them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chat.search.query import Term
from chat.search.tokens import spaced, spaced_character
from chat.text import plain_words

SNIPPET_CHARS = 140
# Before the first match.
BEFORE_CHARS = 40
# What is read around a place, to find the exact one in it.
WINDOW_CHARS = 1_000


def spans(text: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    """Return where `terms` are found in `text`: (start, end), without overlap, trailing accents included."""
    pieces: list[str] = []
    origins: list[int] = []
    for at, character in enumerate(text):
        piece = spaced_character(character)
        pieces.append(piece)
        origins += [at] * len(piece)
    pattern = _pattern(terms)
    found: list[tuple[int, int]] = []
    for match in pattern.finditer("".join(pieces)) if pattern else ():
        start, end = origins[match.start()], origins[match.end() - 1] + 1
        while end < len(text) and not spaced_character(text[end]):
            end += 1
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


def marked(text: str, terms: Sequence[Term]) -> SafeString:
    """Return `text` as HTML with each match of `terms` in a <mark>."""
    pieces: list[str] = []
    after = 0
    for start, end in spans(text, terms):
        pieces += [text[after:start], format_html("<mark>{}</mark>", text[start:end])]
        after = end
    return format_html_join("", "{}", ((piece,) for piece in (*pieces, text[after:])))


def cut_at(text: str, terms: Sequence[Term]) -> str:
    """Return the words of `text` around the first match, on one line; empty if nothing is found."""
    pattern = _pattern(terms)
    folded = spaced(text)
    match = pattern.search(folded) if pattern else None
    if match is None:
        return ""
    # The folded text can be longer or shorter, so this is about where the match is in the text itself.
    about = match.start() * len(text) // len(folded)
    start = max(0, about - WINDOW_CHARS // 2)
    window = text[start : start + WINDOW_CHARS]
    found: list[tuple[int, int]] = []
    # As it was written if a mark is what was searched for, or the address of a link.
    for words in (plain_words(window), " ".join(window.split())):
        if found := spans(words, terms):
            break
    first = max(0, found[0][0] - BEFORE_CHARS) if found else 0
    if first and (space := words.find(" ", first, found[0][0])) >= 0:
        first = space + 1
    return words[first : first + SNIPPET_CHARS]


def _pattern(terms: Sequence[Term]) -> re.Pattern[str] | None:
    longest_first = sorted(terms, key=lambda term: -sum(map(len, term.tokens)))
    parts = [
        r"\s+".join(map(re.escape, term.tokens)) + ("" if term.is_prefix else r"(?!\S)")
        for term in longest_first
    ]
    return re.compile(rf"(?<!\S)(?:{'|'.join(parts)})") if parts else None
