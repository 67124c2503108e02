"""Text of any kind: prose, code, CSV, JSON, the source of an SVG picture."""

from __future__ import annotations

import codecs
import re

from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.types import Extracted, ExtractionRefused

# UTF-8 has at most four bytes for a character.
_BYTES_PER_CHAR = 4
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_CONTROL = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_CONTROL_MAX_PART = 0.05
# They reorder what people see, or hide text from them.
_INVISIBLE = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def read(source: SourceFile, media_type: str) -> Extracted:
    """Return a text file as it is. Raises ExtractionRefused if it is no text."""
    most = source.limits.text_max_chars * _BYTES_PER_CHAR
    data = source.file.read(most + 1)
    text = decode(source, data, is_cut=len(data) > most)
    note_invisible(source, text)
    if "<svg" in text[:4096].lower():
        source.note("An SVG picture is taken as its source text. Save it as PNG to show the picture itself.")
    return source.text_result(media_type, text)


def decode(source: SourceFile, data: bytes, *, is_cut: bool = False) -> str:
    """Return the text of bytes, with plain ends of lines. `is_cut`: may end within a character."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            text = codecs.getincrementaldecoder(encoding)("replace").decode(data, final=not is_cut)
            break
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut)
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
            source.note(
                "The text is not in UTF-8. It was read as Windows-1252; some characters may be wrong."
            )
    if "\x00" in text or len(_CONTROL.findall(text[:100_000])) > _CONTROL_MAX_PART * min(len(text), 100_000):
        raise ExtractionRefused(
            "unsupported",
            "This file is neither text nor a document that is known here. Save it as PDF or text.",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def note_invisible(source: SourceFile, text: str) -> None:
    if _INVISIBLE.search(text):
        source.note("It has invisible characters, which can hide text or its order from people.")
