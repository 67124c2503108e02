"""ZIP files as containers of documents: bounded before anything is unpacked, and while it is."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from xml.parsers import expat

from chat.attachments.extraction.known import FORMATS, refuse_type
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import StopParsing
from chat.attachments.extraction.types import ExtractionRefused

PIECE_BYTES = 64 * 1024
# An entry of a directory has 46 bytes and a name. Reading a directory costs ten times its size.
_DIRECTORY_BYTES_PER_ENTRY = 512
_END = b"PK\x05\x06"
_END_BYTES = 22
_COMMENT_MAX_BYTES = 65535
_MIMETYPE_MAX_BYTES = 100
# The entry that makes a ZIP file a document of Office, and what it then is.
_MAIN_PARTS = {
    "word/document.xml": "docx",
    "ppt/presentation.xml": "pptx",
    "xl/workbook.xml": "xlsx",
}
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)


class XmlHandlers:
    """What a reader does with an XML part.

    Names are without their namespaces; of attributes of one name, the one with a namespace counts.
    """

    def start(self, tag: str, attributes: dict[str, str]) -> None: ...

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


def local(name: str) -> str:
    return name.rpartition(" ")[2]


def _has_namespace(name: str) -> bool:
    return " " in name


class Archive:
    """The entries of a ZIP file. Raises ExtractionRefused for all that is wrong with it."""

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self._left = source.limits.unpacked_max_bytes
        _check_directory(source)
        try:
            self._zip = zipfile.ZipFile(source.file)
        except _READ_ERRORS:
            raise damaged() from None
        self.names = frozenset(self._zip.namelist())

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the content of an entry, none if it is missing. What is unpacked counts, not the claim."""
        if name not in self.names:
            return
        try:
            with self._zip.open(name) as entry:
                while piece := entry.read(PIECE_BYTES):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise ExtractionRefused(
                            "unsafe", "This file is a ZIP bomb: what is packed in it is far too large."
                        )
                    yield piece
        except _READ_ERRORS:
            raise damaged() from None
        except RuntimeError:  # zipfile's way to say that an entry needs a password
            raise encrypted() from None

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return at most `max_bytes` of an entry; nothing if it is missing."""
        out = io.BytesIO()
        for piece in self.pieces(name):
            out.write(piece)
            if out.tell() >= max_bytes:
                break
        return out.getvalue()[:max_bytes]

    def parse(self, name: str, handlers: XmlHandlers) -> None:
        """Parse an XML entry, until a handler raises StopParsing. A missing entry is empty."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = lambda tag, attributes: handlers.start(
            local(tag), {local(name): attributes[name] for name in sorted(attributes, key=_has_namespace)}
        )
        parser.EndElementHandler = lambda tag: handlers.end(local(tag))
        parser.CharacterDataHandler = handlers.text
        forbid_entities(parser)
        try:
            for piece in self.pieces(name):
                parser.Parse(piece, False)
            if name in self.names:
                parser.Parse(b"", True)
        except expat.ExpatError:
            raise damaged() from None
        except StopParsing:
            pass

    def claimed_bytes(self) -> int:
        """Return how large all entries say to be, for libraries that count nothing themselves."""
        return sum(entry.file_size for entry in self._zip.infolist())


def damaged() -> ExtractionRefused:
    return ExtractionRefused(
        "damaged", "This file is damaged or incomplete. Open and save it again, and retry."
    )


def encrypted() -> ExtractionRefused:
    return ExtractionRefused(
        "encrypted", "This file is protected by a password. Remove it, and attach it again."
    )


def forbid_entities(parser: expat.XMLParserType) -> None:
    """Refuse documents that declare entities: these can grow without end, and name other files.

    A document type that is only named is ignored. Nothing is ever loaded: expat does not by itself.
    """

    def refuse(*_declaration: object) -> None:
        raise ExtractionRefused(
            "unsafe", "This file declares XML entities, which no document program does. It was not read."
        )

    def check(_name: str, _system: str | None, _public: str | None, has_subset: int) -> None:
        if has_subset:
            refuse()

    parser.StartDoctypeDeclHandler = check
    parser.EntityDeclHandler = refuse


def media_type_of(source: SourceFile) -> str:
    """Return the type of a document that is a ZIP file. Raises ExtractionRefused for other ZIP files."""
    archive = Archive(source)
    claimed = archive.read("mimetype", _MIMETYPE_MAX_BYTES).decode("ascii", "replace").strip()
    if claimed in FORMATS:
        return claimed
    for part, extension in _MAIN_PARTS.items():
        if part in archive.names:
            return next(name for name, known in FORMATS.items() if extension in known.extensions)
    if "xl/workbook.bin" in archive.names:
        refuse_type("a binary Excel workbook", "Save it as XLSX.")
    if any(name.endswith(".class") for name in archive.names) or "AndroidManifest.xml" in archive.names:
        refuse_type("a program", "Programs are not read.")
    return refuse_type("a ZIP archive", "Unpack it and attach the files in it.")


def _check_directory(source: SourceFile) -> None:
    """Refuse a directory that is too large before zipfile reads it as a whole."""
    file = source.file
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - _END_BYTES - _COMMENT_MAX_BYTES))
    tail = file.read()
    file.seek(0)
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise damaged()
    size = int.from_bytes(tail[place + 12 : place + 16], "little")
    entries = int.from_bytes(tail[place + 10 : place + 12], "little")
    most = source.limits.entries_max
    if entries > most or size > most * _DIRECTORY_BYTES_PER_ENTRY:
        raise ExtractionRefused("unsafe", f"This file has more than {most:,} files in it. It was not read.")
