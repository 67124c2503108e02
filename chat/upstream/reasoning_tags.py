"""Reasoning that a model writes into its answer, between tags such as `<think>` and `</think>`.

Some servers do not separate it. Some chat templates write the opening tag themselves, so that only the
closing one arrives; whatever came before it is reasoning. Tags within code are text.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from chat import events

type Piece = events.Thinking | events.Delta | events.Restarted

NAMES = ("think", "thinking", "thought", "thoughts", "reasoning", "reflection")
_OPENING_TAGS = tuple(f"<{name}>" for name in NAMES)
_CLOSING_TAGS = tuple(f"</{name}>" for name in NAMES)
_TAG_MAX_CHARS = max(map(len, _CLOSING_TAGS))
_OPENING = re.compile(rf"\s*<({'|'.join(NAMES)})>\s*", re.IGNORECASE)
_ANY_OPENING = re.compile(rf"<({'|'.join(NAMES)})>", re.IGNORECASE)
_CLOSING = re.compile(rf"</({'|'.join(NAMES)})>", re.IGNORECASE)
# A closing tag without an opening one is not looked for in text beyond this: it would have to be kept.
SEARCHED_MAX_CHARS = 400_000


class _Phase(Enum):
    START = auto()
    REASONING = auto()
    AFTER_REASONING = auto()
    # No tag so far.
    TEXT = auto()
    # No tag is looked for any more.
    UNCHANGED = auto()


class ReasoningTags:
    """Separates the text of one answer, in pieces of any size, into reasoning and answer."""

    def __init__(self) -> None:
        self._phase = _Phase.START
        self._has_reasoning = False
        # The end of the text so far that may be the beginning of a tag.
        self._held = ""
        # Text that was passed on before any tag.
        self._passed_on: list[str] = []
        self._passed_on_chars = 0

    def feed(self, text: str) -> list[Piece]:
        """Return what `text` completes."""
        if self._held:
            text, self._held = self._held + text, ""
        match self._phase:
            case _Phase.UNCHANGED:
                return _delta(text)
            case _Phase.TEXT:
                return self._in_text(text)
            case _Phase.REASONING:
                return self._in_reasoning(text)
            case _:
                return self._before_text(text)

    def end(self) -> list[Piece]:
        """Return what was held back; the answer has ended."""
        held, self._held = self._held, ""
        return _thinking(held) if self._phase is _Phase.REASONING else _delta(held)

    def _before_text(self, text: str) -> list[Piece]:
        """Handle the start of the answer, and what follows a block of reasoning."""
        if opening := _OPENING.match(text):
            self._phase = _Phase.REASONING
            return self._in_reasoning(text[opening.end() :])
        start = text.lstrip()
        if any(tag.startswith(start.lower()) for tag in _OPENING_TAGS):
            self._held = text
            return []
        if self._phase is _Phase.AFTER_REASONING:
            self._phase = _Phase.UNCHANGED
            return _delta(start)
        self._phase = _Phase.TEXT
        return self._in_text(text)

    def _in_reasoning(self, text: str) -> list[Piece]:
        closing = _CLOSING.search(text)
        if closing is None:
            kept = _chars_of_partial_tag(text)
            self._held = text[len(text) - kept :]
            return self._reasoning(text[: len(text) - kept])
        self._phase = _Phase.AFTER_REASONING
        return self._reasoning(text[: closing.start()]) + self._before_text(text[closing.end() :])

    def _reasoning(self, text: str) -> list[Piece]:
        """Return reasoning without the white space at its start."""
        text = text if self._has_reasoning else text.lstrip()
        self._has_reasoning = self._has_reasoning or bool(text)
        return _thinking(text)

    def _in_text(self, text: str) -> list[Piece]:
        """Handle text before which there was no tag."""
        closing = _CLOSING.search(text) if "<" in text else None
        if closing is None:
            kept = _chars_of_partial_tag(text)
            self._held = text[len(text) - kept :]
            return self._passed(text[: len(text) - kept])
        before = "".join(self._passed_on) + text[: closing.start()]
        self._passed_on.clear()
        if _mentions_tags(before):
            self._phase = _Phase.UNCHANGED
            return _delta(text)
        self._phase = _Phase.AFTER_REASONING
        restarted: list[Piece] = [events.Restarted(events.BECAME_REASONING)]
        return restarted + _thinking(before) + self._before_text(text[closing.end() :])

    def _passed(self, text: str) -> list[Piece]:
        """Pass text on; keep it, in case that it turns out to be reasoning."""
        self._passed_on.append(text)
        self._passed_on_chars += len(text)
        if self._passed_on_chars > SEARCHED_MAX_CHARS:
            self._passed_on.clear()
            self._phase = _Phase.UNCHANGED
        return _delta(text)


def _mentions_tags(before: str) -> bool:
    """Whether a closing tag after this text belongs to the text: within code, or after an opening tag."""
    fences = len(re.findall(r"^ {0,3}(?:```|~~~)", before, re.MULTILINE))
    last_paragraph = before.rpartition("\n\n")[2]
    return bool(fences % 2 or last_paragraph.count("`") % 2 or _ANY_OPENING.search(before))


def _chars_of_partial_tag(text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of a closing tag."""
    start = text.rfind("<", max(0, len(text) - _TAG_MAX_CHARS))
    if start < 0:
        return 0
    partial = text[start:].lower()
    return len(partial) if any(tag.startswith(partial) for tag in _CLOSING_TAGS) else 0


def _thinking(text: str) -> list[Piece]:
    return [events.Thinking(text)] if text else []


def _delta(text: str) -> list[Piece]:
    return [events.Delta(text)] if text else []
