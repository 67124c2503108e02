"""The few HTML tags that models write for what Markdown cannot say: <br>, <sub>, <sup> and <kbd>."""

import re

from markdown_it.rules_inline import StateInline

# The end of a tag is searched this far.
_MAX_CHARS = 500
_BREAK = re.compile(r"<br[ \t]*/?>[ \t]*\n?[ \t]*", re.IGNORECASE)
_OPENING = re.compile(r"<(sub|sup|kbd)>", re.IGNORECASE)


def tag(state: StateInline, silent: bool) -> bool:
    """Parse <br>, or one of the other tags with its content."""
    if state.src[state.pos] != "<":
        return False
    line_break = _BREAK.match(state.src, state.pos, state.posMax)
    if line_break:
        if not silent:
            state.push("hardbreak", "br", 0)
        state.pos = line_break.end()
        return True
    return _pair(state, silent)


def _pair(state: StateInline, silent: bool) -> bool:
    opening = _OPENING.match(state.src, state.pos, state.posMax)
    if not opening:
        return False
    name = opening[1].lower()
    closing = re.compile(f"</{name}>", re.IGNORECASE).search(
        state.src, opening.end(), min(state.posMax, opening.end() + _MAX_CHARS)
    )
    if not closing:
        return False
    if not silent:
        end = state.posMax
        state.pos, state.posMax = opening.end(), closing.start()
        state.push("tag_open", name, 1)
        state.md.inline.tokenize(state)
        state.push("tag_close", name, -1)
        state.posMax = end
    state.pos = closing.end()
    return True
