"""The pictures of answers in the form of the API: base64 or data URLs, or the address that the model sent.

Their rows are read on the thread of the database, and their files on another one: a bucket may take its time.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from channels.db import database_sync_to_async

from chat import events
from chat.event_log.read import images_of
from chat.models import Attachment, Generation
from chat.models.stored_content import StoredContent

logger = logging.getLogger(__name__)

type FoundImage = tuple[events.Image, str, StoredContent | None]


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A picture of an answer. `data`: in base64; empty if there is none."""

    media_type: str = ""
    data: str = ""
    address: str = ""

    @property
    def url(self) -> str:
        """A data URL, or the address; empty if there is neither."""
        return f"data:{self.media_type};base64,{self.data}" if self.data else self.address


async def load(images: Sequence[events.Image]) -> list[LoadedImage]:
    """Read the pictures of events."""
    if not images:
        return []
    found = await database_sync_to_async(_find)(images)
    return await asyncio.to_thread(_read, found)


async def load_all(generation: Generation) -> list[LoadedImage]:
    """Read the pictures of an answer that is final. No query if it has none."""
    if not generation.message.attachment_tokens:
        return []
    return await load(await database_sync_to_async(images_of)(generation.message_id))


def load_now(generation: Generation) -> list[LoadedImage]:
    """Do the same on a thread that may wait."""
    message = generation.message
    return _read(_find(images_of(message.pk))) if message.attachment_tokens else []


def _find(images: Sequence[events.Image]) -> list[FoundImage]:
    rows = Attachment.objects.select_related("content").defer("text")
    by_id = rows.in_bulk([UUID(image.attachment) for image in images])
    attachments = (by_id.get(UUID(image.attachment)) for image in images)
    return [
        (image, "", None) if found is None else (image, found.media_type, found.content)
        for image, found in zip(images, attachments, strict=True)
    ]


def _read(found: Sequence[FoundImage]) -> list[LoadedImage]:
    return [_loaded(*each) for each in found]


def _loaded(image: events.Image, media_type: str, content: StoredContent | None) -> LoadedImage:
    data = ""
    try:
        data = "" if content is None else b64encode(content.read()).decode()
    except OSError:
        logger.exception("the file of attachment %s cannot be read", image.attachment)
    return LoadedImage(media_type, data, image.address)
