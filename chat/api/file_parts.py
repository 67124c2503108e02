"""Files in the messages of a request: taken out, so that no row holds them. Without Django, for the child.

A part that had a file then has the address `attachment:<reference>` instead. The request knows which
attachment a reference means.
"""

from __future__ import annotations

import hashlib
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from chat.api.invalid_body import InvalidBody

# As in chat.models.api_request, which needs Django.
ADDRESS = "attachment:"
# Reading a new one takes a tenth of a second of a processor.
FILES_MAX = 50
_NAME_MAX_CHARS = 200
_FILE_ID_MAX_CHARS = 80


class InlineFile(msgspec.Struct, frozen=True):
    """A file that was in a message. `reference`: made of its name and content."""

    reference: str
    name: str
    media_type: str
    data: bytes


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(InlineFile)


class TakenFiles(msgspec.Struct, frozen=True):
    """The files of some messages, each once. `ids`: of files that are stored already."""

    files: list[InlineFile]
    ids: list[str]


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def may_have_files(messages: list[dict[str, Any]]) -> bool:
    """Return whether any message has parts. Most have not, and need no thread to look at them."""
    return any(isinstance(message.get("content"), list) for message in messages)


def is_remote(url: Any) -> bool:
    """Return whether a picture is at an address of the web, which goes on to the provider as it is.

    Nothing here ever fetches it.
    """
    return isinstance(url, str) and url[:8].lower().startswith(("https://", "http://"))


def take_files(messages: list[dict[str, Any]], root: str) -> TakenFiles:
    """Replace the files in these messages by references, and return them. Raises InvalidBody.

    `root`: the field of the body that has the messages.
    """
    files: dict[str, InlineFile] = {}
    ids: dict[str, None] = {}
    for part, place in _parts(messages, root):
        field = part["type"]
        value = part.get(field)
        if isinstance(value, str) and field == "image_url":  # as some clients write it
            value = part[field] = {"url": value}
        if not isinstance(value, dict):
            raise _invalid(f"{place}.{field}", _("%(place)s: Expected an object."))
        if field == "image_url" and is_remote(value.get("url")):
            continue
        found = _taken(value, field, f"{place}.{field}")
        if isinstance(found, str):
            ids[found] = None
        else:
            files[found.reference] = found
        if len(files) + len(ids) > FILES_MAX:
            text = _("%(place)s: A request can have at most %(limit)s files.")
            raise InvalidBody("too_many_files", text, {"place": root, "limit": FILES_MAX}, root)
    return TakenFiles([*files.values()], [*ids])


def check_inline(messages: list[dict[str, Any]], root: str) -> None:
    """Check that all files are in the messages themselves, which stay as they are. Raises InvalidBody."""
    for part, place in _parts(messages, root):
        field = part["type"]
        value = part.get(field)
        url = value.get("url" if field == "image_url" else "file_data") if isinstance(value, dict) else value
        if field == "image_url" and is_remote(url):
            continue
        if not isinstance(url, str) or url[:5].lower() != "data:":
            raise InvalidBody(
                "unsupported_parameter",
                _("%(place)s: In a batch, send the file itself, as a “data:” URL."),
                {"place": f"{place}.{field}"},
                f"{place}.{field}",
            )


def _parts(messages: list[dict[str, Any]], root: str) -> Iterator[tuple[dict[str, Any], str]]:
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") in ("image_url", "file"):
                yield part, f"{root}[{number}].content[{index}]"


def _taken(value: dict[str, Any], field: str, place: str) -> InlineFile | str:
    """Replace the file of one part; return it, or the id of one that is stored."""
    source = "url" if field == "image_url" else "file_data"
    file_id = value.get("file_id")
    if file_id is not None and value.get(source) is None:
        if not isinstance(file_id, str) or not file_id.isascii() or len(file_id) > _FILE_ID_MAX_CHARS:
            raise _invalid(f"{place}.file_id", _("%(place)s: Expected the id of a file of /v1/files."))
        value.pop("file_id")
        value[source] = ADDRESS + file_id
        return file_id
    data = value.get(source)
    if not isinstance(data, str) or not data:
        raise _invalid(f"{place}.{source}", _("%(place)s: Expected a file as a “data:” URL, or a “file_id”."))
    name = value.get("filename")
    name = (
        name[-_NAME_MAX_CHARS:]
        if isinstance(name, str) and name
        else "picture"
        if field == "image_url"
        else "file"
    )
    media_type, content = _decoded(data, f"{place}.{source}", may_be_bare=field == "file")
    digest = hashlib.sha256(name.encode(errors="replace") + b"\0" + content).hexdigest()
    value[source] = ADDRESS + digest
    return InlineFile(digest, name, media_type, content)


def _decoded(url: str, place: str, *, may_be_bare: bool) -> tuple[str, bytes]:
    """Return the type and the content of a `data:` URL. `may_be_bare`: it may also be Base64 alone."""
    if url[:5].lower() != "data:":
        if not may_be_bare or "://" in url[:20]:
            raise InvalidBody(
                "unsupported_parameter",
                _("%(place)s: Send the file itself, as a “data:” URL. This server fetches no addresses."),
                {"place": place},
                place,
            )
        head, payload = ";base64", url
    else:
        head, comma, payload = url[5:].partition(",")
        if not comma:
            raise _invalid(place, _("%(place)s: This “data:” URL has no content."))
    is_base64 = head.lower().endswith(";base64")
    try:
        content = a2b_base64(payload, strict_mode=False) if is_base64 else unquote_to_bytes(payload)
    except (Base64Error, ValueError):
        raise _invalid(place, _("%(place)s: The content is not valid Base64.")) from None
    if not content:
        raise _invalid(place, _("%(place)s: This file is empty."))
    return head.partition(";")[0].strip().lower()[:100], content


def _invalid(place: str, message: str) -> InvalidBody:
    return InvalidBody("invalid_value", message, {"place": place}, place)
