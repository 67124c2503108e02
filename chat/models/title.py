"""Titles of conversations."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from chat.text import plain_line

TITLE_MAX_CHARS = 80
READ_CHARS = 1_000
LEFT_OUT = "#>*-` "
_BLOCK_MARKS = re.compile(r"^(?:[#>*+-]+\s+)+")


def title_from(text: str) -> str:
    """Return the title of a conversation: the first line of its first message, as plain text."""
    return _cut(plain_line(_BLOCK_MARKS.sub("", _first_line(text))).lstrip(LEFT_OUT))


def is_title_of(title: str, text: str) -> bool:
    """Return whether a title was made of a first message, also by a version that kept Markdown's marks."""
    return title in {title_from(text), _cut(_first_line(text).lstrip(LEFT_OUT))}


def _first_line(text: str) -> str:
    first = next(iter(text.strip().splitlines()), "")
    # What is cut off further on is not read.
    return " ".join(first[:READ_CHARS].split())


def _cut(line: str) -> str:
    line = line or _("New conversation")
    if len(line) <= TITLE_MAX_CHARS:
        return line
    cut = line[: TITLE_MAX_CHARS - 1]
    head, space, _tail = cut.rpartition(" ")
    return (head if space and len(head) > TITLE_MAX_CHARS // 2 else cut) + "…"
