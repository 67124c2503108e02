"""The files of a program's request, put back into its messages for the model.

A picture is sent as a picture, to every model: the program knows what its model takes. A document is sent as
text, or as pictures of its pages if it has none.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from channels.db import database_sync_to_async

from chat.generation.attached import document_text
from chat.models.api_request import ATTACHMENT_ADDRESS, ApiRequest
from chat.models.attachment import Attachment

logger = logging.getLogger(__name__)

type Part = dict[str, Any]


async def with_files(request: ApiRequest, stored: Sequence[bytes]) -> tuple[ApiRequest, Sequence[bytes]]:
    """Return a request and its stored messages (those of a large one), with the files of both."""
    if not request.attachments:
        return request, stored
    filled: tuple[ApiRequest, Sequence[bytes]] = await database_sync_to_async(_filled)(request, stored)
    return filled


def _filled(request: ApiRequest, stored: Sequence[bytes]) -> tuple[ApiRequest, Sequence[bytes]]:
    parts = _parts_of_all(request.attachments)
    messages = [_with_parts(message, parts) for message in request.messages]
    if stored:
        large = [_with_parts(each, parts) for each in msgspec.json.decode(b"[" + b"".join(stored) + b"]")]
        stored = [b",".join(map(msgspec.json.encode, large))]
    return msgspec.structs.replace(request, messages=messages), stored


def _parts_of_all(attachments: Mapping[str, str]) -> dict[str, list[Part]]:
    """Return what stands for each reference."""
    ids = [UUID(pk) for pk in attachments.values()]
    found = Attachment.objects.select_related("content").in_bulk(ids)
    return {
        ATTACHMENT_ADDRESS + reference: _parts_of(found.get(UUID(pk)))
        for reference, pk in attachments.items()
    }


def _parts_of(attachment: Attachment | None) -> list[Part]:
    if attachment is None or attachment.content is None:
        return [{"type": "text", "text": "[A file was here that is no longer stored.]"}]
    if attachment.text:
        return [{"type": "text", "text": document_text(attachment.name, attachment.text)}]
    shown = [(attachment.media_type, attachment.content)]
    if not attachment.is_image:
        shown = [(page.media_type, page.content) for page in attachment.pages.select_related("content")]
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
