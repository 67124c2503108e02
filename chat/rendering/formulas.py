r"""Formulas, kept as written: between `\(` and `\)`, `\[` and `\]`, `$$`, `$`, or in a LaTeX environment."""

import re

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

# A longer formula in a paragraph is none. Also bounds the search for its end.
MAX_CHARS = 2_000

_OPENING = re.compile(r"\\\(|\\\[|\$\$|\\begin\{([A-Za-z]{1,20}\*?)\}")
# "$5 and $10" is money: a formula has no space inside its dollars, and no letter or digit outside.
_IN_DOLLARS = re.compile(r"\$(?![\s$])([^$\n`]{0,200}?[^\s$`\\])\$(?![A-Za-z0-9$])")
_ENDS_BLOCK = re.compile(r"[.,;:]?\s*")


def formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a formula that begins a line; it ends with its closing delimiter's line or before a blank one.

    Its first line alone decides whether it is one, so that the block before it is final.
    """
    if state.is_code_block(start):
        return False
    begin = state.bMarks[start] + state.tShift[start]
    opening = _OPENING.match(state.src, begin, state.eMarks[start])
    if opening is None or opening[0] == "\\(":
        return False
    closing = _closing_of(opening)
    position = state.src.find(closing, opening.end(), state.eMarks[start])
    if position >= 0 and not _ENDS_BLOCK.fullmatch(state.src, position + len(closing), state.eMarks[start]):
        return False  # it is a part of a sentence
    if silent:
        return True
    last = start + 1 if position >= 0 else _line_after(state, start, end, closing)
    token = state.push("formula_block", "", 0)
    token.content = state.getLines(start, last, state.sCount[start], False).strip()
    token.map = [start, last]
    state.line = last
    return True


def formula_inline(state: StateInline, silent: bool) -> bool:
    """Parse a formula in a paragraph."""
    if state.src[state.pos] not in "\\$":
        return False
    length = _length_at(state)
    if not length:
        return False
    if not silent:
        state.push("formula_inline", "", 0).content = state.src[state.pos : state.pos + length]
    state.pos += length
    return True


def _length_at(state: StateInline) -> int:
    opening = _OPENING.match(state.src, state.pos, state.posMax)
    if opening:
        end = min(state.posMax, state.pos + MAX_CHARS)
        position = state.src.find(closing := _closing_of(opening), opening.end(), end)
        return position + len(closing) - state.pos if position > opening.end() else 0
    previous = state.src[state.pos - 1] if state.pos else " "
    match = _IN_DOLLARS.match(state.src, state.pos, state.posMax)
    return len(match[0]) if match and not (previous.isascii() and previous.isalnum()) else 0


def _closing_of(opening: re.Match[str]) -> str:
    if opening[1]:
        return f"\\end{{{opening[1]}}}"
    return {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}[opening[0]]


def _line_after(state: StateBlock, start: int, end: int, closing: str) -> int:
    for line in range(start + 1, end):
        if state.isEmpty(line) or state.sCount[line] < state.blkIndent:
            return line
        if state.src.find(closing, state.bMarks[line], state.eMarks[line]) >= 0:
            return line + 1
    return end
