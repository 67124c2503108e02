"""Word documents: their text, tables, footnotes and comments, as far as people see them."""

from __future__ import annotations

from chat.attachments.extraction.archive import Archive, XmlHandlers
from chat.attachments.extraction.formats import office
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import TextBuilder
from chat.attachments.extraction.types import Extracted

MAIN_PART = "word/document.xml"
_FURTHER_PARTS = (
    ("word/footnotes.xml", "Footnotes"),
    ("word/endnotes.xml", "Endnotes"),
    ("word/comments.xml", "Comments"),
)
_HEADING_MAX = 6
# Read twice otherwise: the same content for older programs.
_SKIPPED = frozenset({"Fallback", "del", "moveFrom"})


class WordHandlers(XmlHandlers):
    def __init__(self, out: TextBuilder) -> None:
        self._out = out
        self._in_text = False
        self._cells = 0
        self._skipped = 0
        self._in_run_properties = False
        self._is_hidden = False
        self.has_hidden = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag:
            case _ if tag in _SKIPPED:
                self._skipped += 1
            case "r":
                self._is_hidden = False
            case "rPr":
                self._in_run_properties = True
            case "vanish" if self._in_run_properties:
                self._is_hidden = attributes.get("val") not in ("0", "false")
            case "t":
                self._in_text = True
            case "tab":
                if not self._in_run_properties:
                    self._add("\t")
            case "br" | "cr":
                self._add(" " if self._cells else "\n")
            case "tc":
                self._cells += 1
            case "pStyle":
                self._heading(attributes.get("val", ""))

    def _heading(self, style: str) -> None:
        level = style.removeprefix("Heading")
        if level != style and level.isdecimal():
            self._add("#" * min(max(int(level[:2]), 1), _HEADING_MAX) + " ")

    def end(self, tag: str) -> None:
        match tag:
            case _ if tag in _SKIPPED:
                self._skipped -= 1
            case "t":
                self._in_text = False
            case "rPr":
                self._in_run_properties = False
            case "p":
                self._add(" " if self._cells else "\n")
            case "tc":
                self._cells -= 1
                self._add("\t")
            case "tr":
                self._add("\n")

    def text(self, text: str) -> None:
        if not self._in_text:
            return
        if self._is_hidden:
            self.has_hidden = True
            return
        self._add(text)

    def _add(self, text: str) -> None:
        if not self._skipped:
            self._out.add(text)


def read(source: SourceFile, media_type: str) -> Extracted:
    archive = Archive(source)
    out = TextBuilder(source.limits.text_max_chars)
    handlers = WordHandlers(out)
    archive.parse(MAIN_PART, handlers)
    for part, title in _FURTHER_PARTS:
        if part in archive.names and not out.is_full:
            notes = TextBuilder(source.limits.text_max_chars)
            archive.parse(part, WordHandlers(notes))
            if notes.text:
                out.add(f"\n## {title}\n{notes.text}\n")
    if handlers.has_hidden:
        source.note("It has hidden text, which was left out.")
    office.note_unread_parts(source, archive, MAIN_PART)
    return source.text_result(media_type, out.text)
