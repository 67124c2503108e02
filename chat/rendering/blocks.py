"""The outermost blocks of a text: its paragraphs, lists, tables, pieces of code.

A block ends where the next one begins, and no later text changes it. So a text is parsed in windows, and the
page parses only the last block of an answer again when more text comes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from chat.rendering.limits import MAX_BLOCK_CHARS, MAX_CHARS

_WINDOW_CHARS = MAX_BLOCK_CHARS // 4


@dataclass
class Block:
    """One outermost block; without tokens it is plain text."""

    start: int
    source: str = ""
    tokens: list[Token] = field(default_factory=list)

    @property
    def is_code(self) -> bool:
        return bool(self.tokens) and self.tokens[0].type in {"fence", "code_block"}


# Invisible characters that one of the two languages takes for white space, and the other does not.
_UNEVEN = re.compile("[\x1c-\x1f\x85\ufeff]")


def normalize(text: str) -> str:
    """Return `text` with `\n` as its only line break, without NUL and without a few invisible characters."""
    return _UNEVEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))


def blocks(markdown: MarkdownIt, text: str) -> Iterable[Block]:
    """Yield the blocks of `text`. A block that is longer than MAX_BLOCK_CHARS and not code is cut."""
    position, length = 0, _WINDOW_CHARS
    while position < min(len(text), MAX_CHARS):
        window = _window(text, position, length)
        found = list(_blocks_of(markdown, window))
        if position + len(window) == len(text):
            yield from found
            return
        if len(found) > 1:
            yield from found[:-1]
            position, length = position + found[-1].start, _WINDOW_CHARS
        elif length < MAX_BLOCK_CHARS or (found and found[0].is_code):
            length *= 4
        else:
            yield Block(0, window)
            position, length = position + len(window), _WINDOW_CHARS
    if position < len(text):
        yield Block(0, text[position:])


def _window(text: str, position: int, length: int) -> str:
    """Return whole lines of at most `length` characters, or the beginning of a longer line."""
    window = text[position : position + length]
    if position + length >= len(text):
        return window
    return window[: window.rfind("\n") + 1] or window


def _blocks_of(markdown: MarkdownIt, window: str) -> Iterable[Block]:
    tokens: list[Token] = []
    markdown.block.parse(window, markdown, {}, tokens)
    lines = _line_starts(window)
    starts = [index for index, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
    offsets = [lines[(tokens[index].map or [0])[0]] for index in starts]
    for number, index in enumerate(starts):
        is_last = number + 1 == len(starts)
        end, offset_end = (None, None) if is_last else (starts[number + 1], offsets[number + 1])
        yield Block(offsets[number], window[offsets[number] : offset_end], tokens[index:end])


def _line_starts(text: str) -> list[int]:
    starts = [0]
    while position := text.find("\n", starts[-1]) + 1:
        starts.append(position)
    return starts
