"""The values of a JSON file one by one, without reading the whole file into memory.

A file is a list of values, an object that holds a list of conversations, or one value. The parser is the
standard library's: it is given a piece of the file, and a larger one if the value goes on behind its end.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

READ_BYTES = 256 * 1024
# A larger value is skipped. A conversation with 40,000 messages has about half of this.
VALUE_MAX_CHARS = 48 * 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")
_LIST_IN_OBJECT = re.compile(r'\{\s{0,100}"conversations"\s{0,100}:\s{0,100}\[')
# Longer than what the expression above finds.
_OPENING_CHARS = 400
_STRUCTURE = re.compile(r'\\.|["{}\[\],]', re.DOTALL)
# An error this close to the end of what was read may only mean that the value goes on.
_NEAR_END_CHARS = 16


@dataclass(frozen=True, slots=True)
class JsonProblem:
    """A value that cannot be read. `place`: characters from the beginning of the file."""

    reason: str
    place: int


class JsonItems:
    """An iterator over the values of a stream; what cannot be read is a JsonProblem in its place."""

    def __init__(self, stream: BinaryIO, *, max_chars: int = VALUE_MAX_CHARS) -> None:
        self._stream = stream
        self._max_chars = max_chars
        self._text = ""
        self._at = 0
        self._before = 0
        self._is_ended = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._json = json.JSONDecoder(parse_constant=lambda _name: None)

    def __iter__(self) -> Iterator[Any]:
        self._fill(READ_BYTES)
        start = self._next_char()
        while start == "{" and len(self._text) - self._at < _OPENING_CHARS and not self._is_ended:
            self._fill(READ_BYTES)
        opening = _LIST_IN_OBJECT.match(self._text, self._at) if start == "{" else None
        if opening is not None or start == "[":
            self._at = opening.end() if opening is not None else self._at + 1
            yield from self._list()
        elif start:
            yield self._value()
        else:
            yield JsonProblem("The file is empty.", 0)

    def _list(self) -> Iterator[Any]:
        while True:
            char = self._next_char()
            if char == "]":
                return
            if char == ",":
                self._at += 1
            elif not char:
                yield JsonProblem("The file ends in the middle of a list.", self._place)
                return
            else:
                before = self._place
                value = self._value()
                yield value
                # At the end of the file, or nothing could be skipped.
                if isinstance(value, JsonProblem) and (self._place == before or not self._next_char()):
                    return

    def _value(self) -> Any:
        """Return the next value, or a JsonProblem, and move behind it."""
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                # A number may go on.
                if end < len(self._text) or self._is_ended:
                    self._at = end
                    return value
            except json.JSONDecodeError as exc:
                if not self._may_go_on(exc):
                    return self._problem(f"It is not valid JSON: {exc.msg}.")
            except RecursionError:
                return self._problem("It is nested too deeply.")
            except ValueError:
                return self._problem("It has a number that is too long.")
            if self._is_ended:
                self._at = len(self._text)
                return JsonProblem("The file ends in the middle of a conversation.", self._place)
            if len(self._text) - self._at > self._max_chars:
                return self._problem("It is too large.")
            self._fill(max(READ_BYTES, len(self._text) - self._at))

    def _may_go_on(self, exc: json.JSONDecodeError) -> bool:
        is_open = exc.msg.startswith("Unterminated string")
        return is_open or exc.pos >= len(self._text) - _NEAR_END_CHARS

    def _problem(self, reason: str) -> JsonProblem:
        place = self._place
        self._skip()
        return JsonProblem(reason, place)

    @property
    def _place(self) -> int:
        return self._before + self._at

    def _skip(self) -> None:
        """Move behind the value that begins here, as its brackets and quotes show."""
        depth, is_in_string = 0, False
        while True:
            for found in _STRUCTURE.finditer(self._text, self._at):
                mark = found[0]
                if is_in_string or mark == '"':
                    is_in_string = is_in_string != (mark == '"')
                elif depth == 0 and mark in ",]}":
                    self._at = found.start()
                    return
                elif mark in "[{":
                    depth += 1
                elif mark in "]}":
                    depth -= 1
            # A backslash at the very end belongs to what follows.
            self._at = len(self._text) - self._text.endswith("\\")
            if self._is_ended:
                self._at = len(self._text)
                return
            self._fill(READ_BYTES)

    def _next_char(self) -> str:
        """Move to the next character that is no space, and return it; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_ended:
                return ""
            self._fill(READ_BYTES)

    def _fill(self, size: int) -> None:
        data = self._stream.read(size)
        if self._decoder is None:
            is_utf16 = data[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
            self._decoder = codecs.getincrementaldecoder("utf-16" if is_utf16 else "utf-8-sig")("replace")
        self._is_ended = not data
        more = self._decoder.decode(data, final=not data)
        self._before += self._at
        self._text = self._text[self._at :] + more
        self._at = 0
