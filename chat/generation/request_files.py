"""The files of a program's request, put back into its messages for the model.

A picture is sent as a picture, to every model: the program knows what its model takes. A document is sent as
text, or as pictures of its pages if it has none.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from channels.db import database_sync_to_async

from chat.generation.attached import Shown, document_text, shown_of
from chat.models.api_request import ATTACHMENT_ADDRESS, ApiRequest
from chat.models.attachment import Attachment

logger = logging.getLogger(__name__)

type Part = dict[str, Any]
type _FoundFiles = dict[str, tuple[Attachment | None, Shown]]


async def with_files(request: ApiRequest, stored: Sequence[bytes]) -> tuple[ApiRequest, Sequence[bytes]]:
    """Return a request and its stored messages (those of a large one), with the files of both."""
    if not request.attachments:
        return request, stored
    found: _FoundFiles = await database_sync_to_async(_find)(request.attachments)
    return await asyncio.to_thread(_filled, request, stored, found)


def _find(attachments: Mapping[str, str]) -> _FoundFiles:
    """Return the attachment of each reference, if it is still there, and its pictures."""
    ids = [UUID(pk) for pk in attachments.values()]
    found = Attachment.objects.select_related("content").in_bulk(ids)
    stored = {reference: found.get(UUID(pk)) for reference, pk in attachments.items()}
    return {reference: (each, shown_of(each) if each else []) for reference, each in stored.items()}


def _filled(
    request: ApiRequest, stored: Sequence[bytes], found: _FoundFiles
) -> tuple[ApiRequest, Sequence[bytes]]:
    parts = {ATTACHMENT_ADDRESS + reference: _parts_of(*each) for reference, each in found.items()}
    messages = [_with_parts(message, parts) for message in request.messages]
    if stored:
        large = [_with_parts(each, parts) for each in msgspec.json.decode(b"[" + b"".join(stored) + b"]")]
        stored = [b",".join(map(msgspec.json.encode, large))]
    return msgspec.structs.replace(request, messages=messages), stored


def _parts_of(attachment: Attachment | None, shown: Shown) -> list[Part]:
    """Return what stands for a reference."""
    if attachment is None or attachment.content is None:
        return [{"type": "text", "text": "[A file was here that is no longer stored.]"}]
    if attachment.text:
        return [{"type": "text", "text": document_text(attachment.name, attachment.text)}]
    try:
        urls = [f"data:{kind};base64,{b64encode(content.read()).decode()}" for kind, content in shown]
    except OSError:
        logger.exception("the file of attachment %s cannot be read", attachment.pk)
        urls = []
    if not urls:
        return [{"type": "text", "text": f'[The file "{attachment.name}" has nothing that can be read.]'}]
    return [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def _with_parts(message: dict[str, Any], parts: Mapping[str, list[Part]]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return message | {"content": [new for part in content for new in _replaced(part, parts)]}


def _replaced(part: Part, parts: Mapping[str, list[Part]]) -> list[Part]:
    value = part.get(part.get("type", ""))
    if not isinstance(value, dict):
        return [part]
    found = parts.get(value.get("url") or value.get("file_data") or "")
    if found is None:
        return [part]
    detail = value.get("detail")
    if detail is None:
        return found
    return [
        each | {"image_url": each["image_url"] | {"detail": detail}} if each["type"] == "image_url" else each
        for each in found
    ]
