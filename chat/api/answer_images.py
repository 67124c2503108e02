"""The pictures of answers in the form of the API: data URLs, or the address that the model sent."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable
from uuid import UUID

from channels.db import database_sync_to_async

from chat import events
from chat.event_log.read import images_of
from chat.models import Attachment, Generation

logger = logging.getLogger(__name__)


def base64_of(image: events.Image) -> tuple[str, str] | None:
    """Return type and content of a picture; None if there is none. Reads the database and the file."""
    rows = Attachment.objects.select_related("content").defer("text")
    attachment = None if image.problem else rows.filter(pk=UUID(image.attachment)).first()
    if attachment is None or attachment.content is None:
        return None
    try:
        return attachment.media_type, b64encode(attachment.content.read()).decode()
    except OSError:
        logger.exception("the file of attachment %s cannot be read", attachment.pk)
        return None


def url_of(image: events.Image) -> str:
    """Return a picture as a data URL, or its address; empty if there is neither."""
    found = base64_of(image)
    return image.address if found is None else f"data:{found[0]};base64,{found[1]}"


def urls_of(generation: Generation) -> list[str]:
    """Return the pictures of an answer that is final."""
    message = generation.message
    images = images_of(message.pk) if message.attachment_tokens else ()
    return [url for image in images if (url := url_of(image))]


async def read[T](generation: Generation, make: Callable[[], T]) -> T:
    """Return what `make` makes of an answer, on a thread if it reads pictures."""
    if not generation.message.attachment_tokens:
        return make()
    made: T = await database_sync_to_async(make)()
    return made
