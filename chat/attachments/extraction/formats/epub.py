"""EPUB books: their chapters in order."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote

from chat.attachments.extraction.archive import Archive, XmlHandlers, damaged
from chat.attachments.extraction.formats.html import HTML_MAX_BYTES, add_html, text_of_bytes
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import TextBuilder
from chat.attachments.extraction.types import Extracted, ExtractionRefused

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_ENCRYPTION_MAX_BYTES = 4 * 1024 * 1024
# Fonts may be encrypted in a book that is free to read; chapters are not.
_ENCRYPTED_CHAPTER = re.compile(rb"URI\s*=\s*[\"'][^\"']{1,300}\.x?html?[\"']", re.IGNORECASE)


class _Package(XmlHandlers):
    """`path`: of the package file, in the container; `chapters`: the files of the package file, in order."""

    def __init__(self) -> None:
        self.path = ""
        self._files: dict[str, str] = {}
        self._order: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag:
            case "rootfile" if not self.path:
                self.path = attributes.get("full-path", "")
            case "item":
                self._files[attributes.get("id", "")] = attributes.get("href", "")
            case "itemref":
                self._order.append(attributes.get("idref", ""))

    def chapters(self) -> list[str]:
        folder = posixpath.dirname(self.path)
        found = (self._files.get(each) for each in self._order)
        return [posixpath.normpath(posixpath.join(folder, unquote(href))) for href in found if href]


def read(source: SourceFile, media_type: str) -> Extracted:
    archive = Archive(source)
    if _ENCRYPTED_CHAPTER.search(archive.read(_ENCRYPTION, _ENCRYPTION_MAX_BYTES)):
        raise ExtractionRefused("encrypted", "This book is protected against copying. It cannot be read.")
    package = _Package()
    archive.parse(_CONTAINER, package)
    archive.parse(package.path, package)
    chapters = list(dict.fromkeys(name for name in package.chapters() if name in archive.names))
    if not chapters:
        raise damaged()
    out = TextBuilder(source.limits.text_max_chars)
    for name in chapters[: source.limits.pages_max]:
        add_html(source, out, text_of_bytes(source, archive.read(name, HTML_MAX_BYTES)))
        if out.is_full:
            break
        out.end_line(1)
    return source.text_result(media_type, out.text)
