"""The formats that are read."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from chat.attachments.extraction.types import ExtractionRefused


class KnownFormat(NamedTuple):
    """A format that is read: how people call it, with its article, and the extensions that its files have."""

    reader: str
    label: str
    extensions: frozenset[str]


def _format(reader: str, label: str, extensions: str) -> KnownFormat:
    return KnownFormat(reader, label, frozenset(extensions.split()))


_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
FORMATS = {
    "image/jpeg": _format("image", "a JPEG picture", "jpg jpeg jpe jfif"),
    "image/png": _format("image", "a PNG picture", "png apng"),
    "image/gif": _format("image", "a GIF picture", "gif"),
    "image/webp": _format("image", "a WebP picture", "webp"),
    "application/pdf": _format("pdf", "a PDF document", "pdf"),
    f"{_OFFICE}.wordprocessingml.document": _format("docx", "a Word document", "docx docm dotx dotm"),
    f"{_OFFICE}.presentationml.presentation": _format(
        "pptx", "a PowerPoint presentation", "pptx pptm ppsx potx"
    ),
    f"{_OFFICE}.spreadsheetml.sheet": _format("spreadsheet", "an Excel workbook", "xlsx xlsm xltx"),
    f"{_OPEN}.spreadsheet": _format("spreadsheet", "an OpenDocument spreadsheet", "ods ots"),
    f"{_OPEN}.text": _format("opendocument", "an OpenDocument text", "odt ott"),
    f"{_OPEN}.presentation": _format("opendocument", "an OpenDocument presentation", "odp otp"),
    "application/epub+zip": _format("epub", "an EPUB book", "epub"),
    "text/html": _format("html", "an HTML page", "html htm xhtml xht"),
    "message/rfc822": _format("email", "an e-mail", "eml"),
    "text/csv": _format("plain", "a table of text", "csv"),
    "text/tab-separated-values": _format("plain", "a table of text", "tsv tab"),
    "text/markdown": _format("plain", "text", "md markdown"),
    "application/json": _format("plain", "text", "json"),
    "application/xml": _format("plain", "text", "xml svg"),
    "text/plain": _format("plain", "text", "txt text log"),
}


def refuse_type(label: str, advice: str) -> NoReturn:
    raise ExtractionRefused("unsupported", f"This is {label}. {advice}")
