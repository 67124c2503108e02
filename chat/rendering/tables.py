"""Tables as in GitHub's Markdown, except that no word of a row is left out.

A `|` in inline code does not end a cell, and cells beyond the last column join its text.
"""

import re
from collections.abc import Iterable, Sequence

from markdown_it.rules_block import StateBlock

from chat.rendering.limits import MAX_BLOCK_ELEMENTS, MAX_COLUMNS

_DELIMITER_ROW = re.compile(r"(?=.*[|:])\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_BACKTICKS_OR_PIPE = re.compile(r"\\?\||\\?`+")


def table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table; more than MAX_COLUMNS columns are no table."""
    if start + 2 > end or state.sCount[start + 1] < state.blkIndent:
        return False
    if state.is_code_block(start) or state.is_code_block(start + 1):
        return False
    delimiters = _line(state, start + 1)
    header = _line(state, start)
    if "|" not in header or not _DELIMITER_ROW.fullmatch(delimiters):
        return False
    alignments = [_alignment(each) for each in delimiters.strip("| \t").split("|")]
    names = cells_of(header)
    if len(names) != len(alignments) or len(names) > MAX_COLUMNS:
        return False
    if not silent:
        _push_table(state, start, _last_line(state, start, end), names, alignments)
    return True


def cells_of(row: str) -> list[str]:
    """Return the cells of a row."""
    ends = list(_separators(row))
    bounds = zip([0, *(each + 1 for each in ends)], [*ends, len(row)], strict=True)
    cells = [row[start:end].replace("\\|", "|").strip() for start, end in bounds]
    if len(cells) > 1 and not cells[-1]:
        cells.pop()
    if len(cells) > 1 and not cells[0]:
        cells.pop(0)
    return cells


def _separators(row: str) -> Iterable[int]:
    """Yield the positions of the pipes that separate cells."""
    marks = list(_BACKTICKS_OR_PIPE.finditer(row))
    index = 0
    while index < len(marks):
        mark = marks[index][0]
        if mark == "|":
            yield marks[index].start()
        elif mark[0] == "`":
            # A backslash does not escape the end of code.
            later = range(index + 1, len(marks))
            index = next((each for each in later if marks[each][0].lstrip("\\") == mark), index)
        index += 1


def _alignment(delimiter: str) -> str:
    delimiter = delimiter.strip()
    if delimiter.endswith(":"):
        return "center" if delimiter.startswith(":") else "right"
    return ""


def _last_line(state: StateBlock, start: int, end: int) -> int:
    """Return the line after the table's last row."""
    terminators = state.md.block.ruler.getRules("blockquote")
    for line in range(start + 2, end):
        if state.sCount[line] < state.blkIndent or state.isEmpty(line) or state.is_code_block(line):
            return line
        if any(rule(state, line, end, True) for rule in terminators):
            return line
    return end


def _push_table(
    state: StateBlock, start: int, last: int, names: list[str], alignments: Sequence[str]
) -> None:
    state.push("table_open", "table", 1).map = [start, last]
    if (last - start) * (len(names) + 1) > MAX_BLOCK_ELEMENTS:
        # Too large to be shown as a table: no tokens are made for its cells.
        state.push("too_complex", "", 0)
    else:
        _push_rows(state, start, last, names, alignments)
    state.push("table_close", "table", -1)
    state.line = last


def _push_rows(state: StateBlock, start: int, last: int, names: list[str], alignments: Sequence[str]) -> None:
    state.push("thead_open", "thead", 1)
    _push_row(state, "th", names, alignments)
    state.push("thead_close", "thead", -1)
    if last > start + 2:
        state.push("tbody_open", "tbody", 1)
        for line in range(start + 2, last):
            _push_row(state, "td", cells_of(_line(state, line)), alignments)
        state.push("tbody_close", "tbody", -1)


def _push_row(state: StateBlock, tag: str, cells: list[str], alignments: Sequence[str]) -> None:
    rest = len(alignments) - 1
    cells[rest:] = [" | ".join(cells[rest:])]
    cells += [""] * (len(alignments) - len(cells))
    state.push("tr_open", "tr", 1)
    for text, alignment in zip(cells, alignments, strict=True):
        cell = state.push(f"{tag}_open", tag, 1)
        if alignment:
            cell.attrSet("class", alignment)
        token = state.push("inline", "", 0)
        token.content = text
        token.children = []
        state.push(f"{tag}_close", tag, -1)
    state.push("tr_close", "tr", -1)


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()
