"""Titles of conversations."""

from __future__ import annotations

from django.utils.translation import gettext as _

TITLE_MAX_CHARS = 80


def title_from(text: str) -> str:
    """Return the title of a conversation: the first line of its first message, cut at a word."""
    first = next(iter(text.strip().splitlines()), "")
    line = " ".join(first.split()).lstrip("#>*-` ") or _("New conversation")
    if len(line) <= TITLE_MAX_CHARS:
        return line
    cut = line[: TITLE_MAX_CHARS - 1]
    head, space, _tail = cut.rpartition(" ")
    return (head if space and len(head) > TITLE_MAX_CHARS // 2 else cut) + "…"
