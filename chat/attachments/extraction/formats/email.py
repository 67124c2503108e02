"""E-mail: its head lines and its text. Attached files are named, and not read."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

from chat.attachments.extraction.formats import plain
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.text_builder import StopParsing, TextBuilder
from chat.attachments.extraction.types import Extracted

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_HEADER_MAX_CHARS = 1_000
_NAMES_MAX = 10


def read(source: SourceFile, media_type: str) -> Extracted:
    message = email.message_from_binary_file(source.file, policy=email.policy.default)
    if not any(name in message for name in _HEADERS):
        source.file.seek(0)
        return plain.read(source, "text/plain")
    out = TextBuilder(source.limits.text_max_chars)
    try:
        for name in _HEADERS:
            if value := _header(source, message, name):
                out.add(f"{name}: {value}\n")
        out.add("\n")
        _add_body(source, out, message)
    except StopParsing:
        pass
    _note_attached(source, message)
    text = out.text
    plain.note_invisible(source, text)
    return source.text_result(media_type, text)


def _header(source: SourceFile, message: EmailMessage, name: str) -> str:
    # Parsing a long one takes a time that grows with the square of its length.
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    if len(raw) > _HEADER_MAX_CHARS * 4:
        source.note(f"The line “{name}” is too long and was left out.")
        return ""
    try:
        value = str(message.get(name, ""))
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        IndexError,
    ):  # its parsers fail at broken ones
        return ""
    return " ".join(value.split())[:_HEADER_MAX_CHARS]


def _add_body(source: SourceFile, out: TextBuilder, message: EmailMessage) -> None:
    body = message.get_body(("plain", "html"))
    if body is None:
        return
    payload = body.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        text = data.decode(body.get_content_charset() or "utf-8")
    except (LookupError, ValueError):
        text = plain.decode(source, data)
    if body.get_content_type() == "text/html":
        from chat.attachments.extraction.formats.html import HTML_MAX_BYTES, add_html  # the library is large

        add_html(source, out, text[:HTML_MAX_BYTES])
    else:
        out.add(text.replace("\r\n", "\n"))


def _note_attached(source: SourceFile, message: EmailMessage) -> None:
    names = [part.get_filename() or part.get_content_type() for part in _attached(message)]
    if names:
        listed = ", ".join(name[:80] for name in names[:_NAMES_MAX])
        more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
        source.note(f"Files attached to it were left out: {listed}{more}. Attach them separately.")


def _attached(message: EmailMessage) -> list[EmailMessage]:
    if not message.is_multipart():
        return []
    try:
        return [part for part in message.iter_attachments() if isinstance(part, EmailMessage)]
    except (TypeError, AttributeError, KeyError, ValueError):
        return []
