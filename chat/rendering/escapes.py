r"""Backslashes: `\*` is an asterisk, but the backslashes of a path or of LaTeX stay."""

import re
from string import punctuation

from markdown_it.rules_inline import StateInline

# How far around a backslash its word is examined.
_WORD_CHARS = 200
_WORD_START = re.compile(r"[^\s`<>\"|*]*\Z")
_WORD_REST = re.compile(r"[^\s`<>\"|*]*")
# A backslash before a letter or digit escapes nothing: the backslashes of this word separate names.
_SEPARATOR = re.compile(r"\\[A-Za-z0-9]")
_RELATIVE_PATH = re.compile(r"\(?(?:\.{1,2}|~|%[A-Za-z0-9_]+%|\$[A-Za-z0-9_:]+)\\")
# C:\Program Files\_x: a path whose folders have spaces in their names.
_PATH_WITH_SPACES = re.compile(r"(?:[A-Za-z]:|\\\\[A-Za-z0-9])[^\s`<>\"|*]*(?: [A-Z0-9(][^\s`<>\"|*]*)+\Z")
_NAME_CHARS = re.compile(r"[A-Za-z0-9_.~%)]")


def escape(state: StateInline, silent: bool) -> bool:
    """Parse a backslash and the character after it."""
    position = state.pos
    if state.src[position] != "\\" or position + 1 >= state.posMax:
        return False
    following = state.src[position + 1]
    if following == "\n":
        return _line_break(state, silent)
    if following not in punctuation:
        return False
    if not silent:
        token = state.push("text_special", "", 0)
        token.content = "\\" + following if _stays(state, following) else following
        token.markup = "\\" + following
        token.info = "escape"
    state.pos += 2
    return True


def _line_break(state: StateInline, silent: bool) -> bool:
    """Parse a backslash at the end of a line: a line break, unless it ends a path."""
    if _is_separator(state):
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos += 2
    while state.pos < state.posMax and state.src[state.pos] in " \t":
        state.pos += 1
    return True


def _stays(state: StateInline, following: str) -> bool:
    r"""Return whether a backslash before punctuation is text: `\\`, the delimiters of formulas, and paths."""
    return following in "\\()[]{}" or _is_separator(state)


def _is_separator(state: StateInline) -> bool:
    position = state.pos
    before = state.src[max(0, position - _WORD_CHARS) : position]
    rest = _WORD_REST.match(state.src, position, min(state.posMax, position + _WORD_CHARS))
    start = _WORD_START.search(before)
    assert rest
    assert start
    word = start[0] + rest[0]
    if _SEPARATOR.search(word) or _RELATIVE_PATH.match(word) or _PATH_WITH_SPACES.search(before):
        return True
    # src\.env, but not `1986\. Then`.
    following = state.src[position + 1 : position + 3]
    is_in_name = bool(before) and _NAME_CHARS.match(before[-1]) is not None
    return is_in_name and following[:1] == "." and _NAME_CHARS.match(following[1:]) is not None
