"""The text of a document, as its reader finds it piece by piece."""

from __future__ import annotations

import re

_TRAILING_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{3,}")


class StopParsing(Exception):
    """Raised in a handler of a parser: there is enough."""


class TextBuilder:
    """Collects text up to one character more than `max_chars`, so that a cut can be seen."""

    def __init__(self, max_chars: int) -> None:
        self._pieces: list[str] = []
        self._left = max_chars + 1
        self.ends_line = True

    def add(self, text: str) -> None:
        """Add a piece. Raises StopParsing when there is enough."""
        if not text:
            return
        self._pieces.append(text[: self._left])
        self.ends_line = text.endswith("\n")
        self._left -= len(text)
        if self._left <= 0:
            raise StopParsing

    def end_line(self, empty_lines: int = 0) -> None:
        """End the current line, and add empty ones; a line that is empty already is not ended again."""
        self.add(("" if self.ends_line else "\n") + "\n" * empty_lines)

    def heading(self, text: str, level: int = 2) -> None:
        self.end_line(1)
        self.add(f"{'#' * level} {text}\n")

    @property
    def is_full(self) -> bool:
        return self._left <= 0

    @property
    def text(self) -> str:
        """The text, without blanks at ends of lines and more than one empty line."""
        return _EMPTY_LINES.sub("\n\n", _TRAILING_BLANKS.sub("", "".join(self._pieces))).strip("\n")
