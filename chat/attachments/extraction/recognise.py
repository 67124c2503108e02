"""The type of a file, by its content. Its parser has the last word: this only chooses the parser."""

from __future__ import annotations

import mmap
from typing import NamedTuple, NoReturn

from chat.attachments.extraction.known import FORMATS, refuse_type
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.types import ExtractionRefused


class RecognisedType(NamedTuple):
    """`reader`: the module of `formats` that reads it."""

    reader: str
    media_type: str


_TEXT_READERS = ("plain", "html", "email")
_TEXTS = {
    extension: media_type
    for media_type, known in FORMATS.items()
    if known.reader in _TEXT_READERS
    for extension in known.extensions
}
_BINARY_EXTENSIONS = frozenset[str]().union(
    *(known.extensions for name, known in FORMATS.items() if name not in _TEXTS.values())
)
_PICTURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_ARCHIVE = "Unpack it and attach the files in it."
_PROGRAM = "Programs are not read."
_SOUND = "Sound and video are not read."
_RTF = b"{\\rtf"
# The beginning of files that are often tried, what they are, and what helps.
_OTHERS = (
    (_RTF, "an RTF document", "Save it as DOCX or PDF."),
    (b"Rar!", "a RAR archive", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _ARCHIVE),
    (b"\x1f\x8b", "a gzip archive", _ARCHIVE),
    (b"BZh", "a bzip2 archive", _ARCHIVE),
    (b"\xfd7zXZ\x00", "an xz archive", _ARCHIVE),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _ARCHIVE),
    (b"MZ", "a program or library of Windows", _PROGRAM),
    (b"\x7fELF", "a program or library of Linux", _PROGRAM),
    (b"\xcf\xfa\xed\xfe", "a program or library of macOS", _PROGRAM),
    (b"\xca\xfe\xba\xbe", "a program", _PROGRAM),
    (b"\x00asm", "a WebAssembly program", _PROGRAM),
    (b"SQLite format 3", "an SQLite database", "Export its tables as CSV."),
    (b"PAR1", "a Parquet file", "Export it as CSV."),
    (b"BM", "a BMP picture", "Save it as PNG."),
    (b"II*\x00", "a TIFF picture", "Save it as PNG or PDF."),
    (b"MM\x00*", "a TIFF picture", "Save it as PNG or PDF."),
    (b"8BPS", "a Photoshop picture", "Save it as PNG."),
    (b"\x00\x00\x01\x00", "an icon", "Save it as PNG."),
    (b"ID3", "a sound file", _SOUND),
    (b"OggS", "a sound or video file", _SOUND),
    (b"fLaC", "a sound file", _SOUND),
    (b"\x1a\x45\xdf\xa3", "a video file", _SOUND),
    (b"RIFF", "a sound or video file", _SOUND),
)
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")


def recognise(source: SourceFile) -> RecognisedType:
    """Return how a file is read; a name that says something else is noted. Raises ExtractionRefused."""
    media_type = _media_type(source)
    known = FORMATS[media_type]
    said = source.extension
    is_text = known.reader in _TEXT_READERS
    if said not in known.extensions and (said in _BINARY_EXTENSIONS or (said in _TEXTS and not is_text)):
        source.note(f"The name ends in .{said}, but this is {known.label}.")
    return RecognisedType(known.reader, media_type)


def _media_type(source: SourceFile) -> str:
    head = source.head
    for start, media_type in _PICTURES:
        if head.startswith(start):
            return media_type
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"%PDF-"):
        return "application/pdf"
    if b"%PDF-" in head[:1024] and source.extension == "pdf":  # readers skip what is before it
        return "application/pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from chat.attachments.extraction import archive  # its libraries take a tenth of the start

        return archive.media_type_of(source)
    if head.startswith(_COMPOUND):
        _refuse_compound(source)
    _refuse_others(head)
    return _text_type(source)


def _refuse_others(head: bytes) -> None:
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIC_BRANDS:
            refuse_type("a HEIC picture", "Save it as JPEG; iPhones do with the setting “Most Compatible”.")
        if head[8:12] in (b"avif", b"avis"):
            refuse_type("an AVIF picture", "Save it as PNG or JPEG.")
        refuse_type("a sound or video file", _SOUND)
    if head[257:262] == b"ustar":
        refuse_type("a tar archive", _ARCHIVE)
    for start, label, advice in _OTHERS:
        # Without a zero, it may be a text that begins with these letters.
        if head.startswith(start) and (b"\x00" in head or start == _RTF):
            refuse_type(label, advice)


def _refuse_compound(source: SourceFile) -> NoReturn:
    """Refuse a container of old Office files, which also is what Office puts a protected file into."""
    with mmap.mmap(source.file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        is_protected = content.find("EncryptedPackage".encode("utf-16-le")) >= 0
    if is_protected:
        raise ExtractionRefused(
            "encrypted", "This file is protected by a password. Remove it, and attach it again."
        )
    refuse_type("a file of an old version of Office or Outlook", "Save it as DOCX, XLSX, PPTX or PDF.")


def _text_type(source: SourceFile) -> str:
    """Return the kind of text. Whether it is one at all, its reader finds out."""
    beginning = source.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:256].lower()
    looks_html = beginning.startswith((b"<!doctype html", b"<html"))
    if source.extension in _TEXTS:
        return _TEXTS[source.extension]
    if looks_html and (not source.extension or source.extension in _BINARY_EXTENSIONS):
        return "text/html"
    if not source.extension and source.declared_type in _TEXTS.values():
        return source.declared_type
    return "text/plain"
