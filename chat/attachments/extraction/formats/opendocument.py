"""Texts and presentations of OpenDocument."""

from __future__ import annotations

from chat.attachments.extraction.archive import Archive, XmlHandlers, encrypted
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import TextBuilder
from chat.attachments.extraction.types import Extracted

CONTENT = "content.xml"
_MANIFEST = "META-INF/manifest.xml"
_MANIFEST_MAX_BYTES = 1024 * 1024
_HEADING_MAX = 6
# One element can ask for any number of blanks.
_BLANKS_MAX = 80
_SKIPPED = frozenset({"tracked-changes", "annotation", "sequence-decls"})


class OpenTextHandlers(XmlHandlers):
    def __init__(self, out: TextBuilder) -> None:
        self._out = out
        self._paragraphs = 0
        self._cells = 0
        self._skipped = 0
        self.pages = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _SKIPPED:
            self._skipped += 1
        if self._skipped:
            return
        match tag:
            case "h":
                self._paragraphs += 1
                level = attributes.get("outline-level", "1")
                self._out.add("#" * (min(int(level[:3]), _HEADING_MAX) if level.isdecimal() else 1) + " ")
            case "p":
                self._paragraphs += 1
            case "tab":
                self._out.add("\t")
            case "line-break":
                self._out.add("\n")
            case "s":
                count = attributes.get("c", "1")
                self._out.add(" " * (min(int(count[:3]), _BLANKS_MAX) if count.isdecimal() else 1))
            case "table-cell":
                self._cells += 1
            case "page":
                self.pages += 1
                self._out.heading(f"Slide {self.pages}")

    def end(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipped -= 1
            return
        if self._skipped:
            return
        match tag:
            case "p" | "h":
                self._paragraphs -= 1
                self._out.add(" " if self._cells else "\n")
            case "table-cell":
                self._cells -= 1
                self._out.add("\t")
            case "table-row":
                self._out.add("\n")

    def text(self, text: str) -> None:
        if self._paragraphs and not self._skipped:
            self._out.add(text)


def read(source: SourceFile, media_type: str) -> Extracted:
    archive = Archive(source)
    refuse_encrypted(archive)
    out = TextBuilder(source.limits.text_max_chars)
    handlers = OpenTextHandlers(out)
    archive.parse(CONTENT, handlers)
    note_unread_parts(source, archive)
    return source.text_result(media_type, out.text, pages=handlers.pages or None)


def refuse_encrypted(archive: Archive) -> None:
    if b"encryption-data" in archive.read(_MANIFEST, _MANIFEST_MAX_BYTES):
        raise encrypted()


def note_unread_parts(source: SourceFile, archive: Archive) -> None:
    if any(name.startswith(("Basic/", "Scripts/")) for name in archive.names):
        source.note("It has macros. They were neither read nor run.")
    pictures = sum(name.startswith("Pictures/") for name in archive.names)
    if pictures:
        source.note(f"Pictures in it were left out: {pictures}. Attach them separately, or as a PDF.")
