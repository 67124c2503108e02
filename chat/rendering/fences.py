"""Fenced code, with fences inside of it: models write a Markdown file as a block that contains blocks."""

import re
from dataclasses import dataclass

from markdown_it.rules_block import StateBlock

_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([^\n]*)")
_LANGUAGE_ONLY = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")
_END_OF_LANGUAGE = re.compile(r"[\s,:{]")
# Blocks whose content may contain blocks of its own, several levels deep.
_TEXT_LANGUAGES = {"", "markdown", "md", "mdx", "text", "txt", "plaintext"}
_HEADING_OR_COLON = re.compile(r"#{1,6}\s|.*[:：]\s*$")


@dataclass(frozen=True)
class _Fence:
    marker: str
    info: str

    def is_closed_by(self, other: "_Fence") -> bool:
        return other.marker.startswith(self.marker) and not other.info

    @property
    def holds_text(self) -> bool:
        return language_of(self.info) in _TEXT_LANGUAGES


def fence(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse fenced code as CommonMark does, except that a block in it does not end it.

    Inside a block, a fence that names a language opens an inner block, which the next bare fence closes.
    Inside Markdown, so does a bare fence that follows a blank line, a heading or a colon and has text
    right after it.
    """
    opening = _fence_at(state, start)
    if opening is None or ("`" in opening.marker and "`" in opening.info):
        return False
    if silent:
        return True
    last, is_closed = _end_of(state, opening, start, end)
    state.line = last + is_closed
    token = state.push("fence", "code", 0)
    token.info = opening.info
    token.content = state.getLines(start + 1, last, state.sCount[start], True)
    token.markup = opening.marker
    token.map = [start, state.line]
    return True


def language_of(info: str) -> str:
    """Return the language in a fence's info string, such as `python` in `python title="x"`, or ""."""
    name = _END_OF_LANGUAGE.split(info.strip(), maxsplit=1)[0]
    return name.lower() if _LANGUAGE_ONLY.fullmatch(name) else ""


def _end_of(state: StateBlock, opening: _Fence, start: int, end: int) -> tuple[int, bool]:
    """Return the line after the code, and whether it is a closing fence."""
    open_fences = [opening]
    for line in range(start + 1, end):
        if not state.isEmpty(line) and state.sCount[line] < state.blkIndent:
            return line, False  # the end of the list item
        found = _fence_at(state, line)
        if found is None:
            continue
        if _opens(state, found, open_fences, line, end):
            open_fences.append(found)
        elif open_fences[-1].is_closed_by(found):
            open_fences.pop()
            if not open_fences:
                return line, True
    return end, False


def _opens(state: StateBlock, found: _Fence, open_fences: list[_Fence], line: int, end: int) -> bool:
    """Return whether a fence inside code opens an inner block."""
    innermost = open_fences[-1]
    if found.marker[0] != innermost.marker[0] or "`" in found.info:
        return False
    if len(found.marker) < len(open_fences[0].marker):
        return False  # it cannot close the outer block either
    if found.info:
        is_language = _LANGUAGE_ONLY.fullmatch(found.info) is not None
        return is_language and (len(open_fences) == 1 or innermost.holds_text)
    if language_of(innermost.info) not in _TEXT_LANGUAGES - {""}:
        return False
    is_before_text = line + 1 < end and not state.isEmpty(line + 1)
    return is_before_text and (
        state.isEmpty(line - 1) or _HEADING_OR_COLON.match(_line(state, line - 1)) is not None
    )


def _fence_at(state: StateBlock, line: int) -> _Fence | None:
    if state.is_code_block(line):
        return None
    match = _FENCE.match(state.src, state.bMarks[line] + state.tShift[line], state.eMarks[line])
    return _Fence(match[1], match[2].strip(" \t")) if match else None


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
