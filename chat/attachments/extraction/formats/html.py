"""HTML: the text that a browser would show, with headings, lists and tables."""

from __future__ import annotations

import re
from typing import Any

from justhtml import JustHTML

from chat.attachments.extraction.formats.plain import decode, note_invisible
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import StopParsing, TextBuilder
from chat.attachments.extraction.types import Extracted


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Its tree has a hundred times the size of tags without text.
HTML_MAX_BYTES = 4 * 1024 * 1024
_SKIPPED = _names(
    "script style template noscript iframe object embed applet svg math head select textarea audio video"
)
_BLOCKS = _names(
    "address article aside blockquote body caption dd div dl dt fieldset figcaption figure footer form"
    " header hr html li main nav ol p pre section table tbody tfoot thead tr ul"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLANKS = re.compile(r"[ \t\n\f\r]+")
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


def read(source: SourceFile, media_type: str) -> Extracted:
    data = source.file.read(HTML_MAX_BYTES + 1)
    is_cut = len(data) > HTML_MAX_BYTES
    if is_cut:
        data = data[:HTML_MAX_BYTES]
        source.note(f"Only the first {HTML_MAX_BYTES // 1024**2} MB are used.")
    out = TextBuilder(source.limits.text_max_chars)
    add_html(source, out, text_of_bytes(source, data, is_cut=is_cut))
    text = out.text
    note_invisible(source, text)
    return source.text_result(media_type, text)


def text_of_bytes(source: SourceFile, data: bytes, *, is_cut: bool = False) -> str:
    """Return HTML as text, by the encoding that it names, if it names one."""
    found = _CHARSET.search(data[:2048])
    if found and b"\x00" not in data:
        try:
            return data.decode(found[1].decode("ascii"), "replace")
        except (LookupError, ValueError):
            pass
    return decode(source, data, is_cut=is_cut)


def add_html(source: SourceFile, out: TextBuilder, markup: str) -> None:
    """Add what a browser would show of a page; nothing of it is loaded or run."""
    document: Any = JustHTML(markup, sanitize=False)
    walk = _Walk(out)
    try:
        title = document.query_one("title")
        if title is not None:
            out.add(_BLANKS.sub(" ", title.to_text()).strip())
            out.end_line(1)
        walk.run(document.root)
    except StopParsing:
        pass
    if walk.has_hidden:
        source.note("It has hidden text, which was left out.")


class _Walk:
    """Goes through a tree without recursion, which a deep one would break."""

    def __init__(self, out: TextBuilder) -> None:
        self._out = out
        self._preformatted = 0
        self._cells = 0
        self.has_hidden = False

    def run(self, root: Any) -> None:
        # Elements to enter, and the names of those to leave.
        waiting: list[Any] = [root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, str):
                self._leave(node)
            elif node.name == "#text":
                self._add(node.data or "")
            elif self._is_shown(node):
                self._enter(node)
                waiting.append(node.name)
                waiting.extend(reversed(node.children or ()))

    def _is_shown(self, node: Any) -> bool:
        if node.name in _SKIPPED or node.name.startswith("!") or node.name == "#comment":
            return False
        attributes = node.attrs or {}
        if "hidden" in attributes or _HIDING.search(attributes.get("style") or ""):
            self.has_hidden = True
            return False
        return True

    def _enter(self, node: Any) -> None:
        name = node.name
        if name in _HEADINGS:
            self._out.end_line(1)
            self._out.add("#" * _HEADINGS[name] + " ")
        elif name in _BLOCKS and not self._cells:
            self._out.end_line(1 if name in ("p", "pre", "table") else 0)
        if name == "li":
            self._out.add("- ")
        elif name == "br":
            self._out.add(" " if self._cells else "\n")
        elif name == "img":
            self._add(f"[{alt}]" if (alt := (node.attrs or {}).get("alt")) else "")
        elif name == "pre":
            self._preformatted += 1
        elif name in ("td", "th"):
            self._cells += 1

    def _leave(self, name: str) -> None:
        if name == "pre":
            self._preformatted -= 1
        elif name in ("td", "th"):
            self._cells -= 1
            self._out.add("\t")
        if name in _HEADINGS or name == "tr" or (name in _BLOCKS and not self._cells):
            self._out.end_line()

    def _add(self, text: str) -> None:
        if not self._preformatted:
            text = _BLANKS.sub(" ", text)
            if text == " " and self._out.ends_line:
                return
        self._out.add(text)
