"""Keep the pictures of answers: each is encoded again and stored as an upload is, or it is said why not."""

from __future__ import annotations

import asyncio
import binascii
import logging
from base64 import b64decode

from django.conf import settings
from django.contrib.auth import get_user_model
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from chat import events
from chat.attachments.upload import store_picture
from chat.errors import RequestRefused
from chat.event_log.read import image_of
from chat.event_log.writer import Writer
from chat.models.attachment import Attachment
from chat.upstream import ReceivedImage
from chat.upstream.images import IMAGES_MAX

logger = logging.getLogger(__name__)


async def keep_image(writer: Writer, user_id: int, received: ReceivedImage, number: int) -> events.Image:
    """Store a picture of an answer, or a row that says why there is none; return what tells readers of it."""
    name = _("picture-%(number)d") % {"number": number}
    user = await writer.arun(lambda: get_user_model().objects.get(pk=user_id))
    problem = _problem_of(received)
    if not problem:
        try:
            data = await asyncio.to_thread(_decoded, received.data)
            return image_of(await store_picture(writer, user, data, name))
        except RequestRefused as refused:
            problem = _("A picture of this answer was not kept. %(why)s") % {"why": refused.message}
        except (OSError, LookupError):
            logger.exception("the picture of an answer could not be stored")
            problem = _("A picture of this answer was not kept: it could not be stored.")
    row = Attachment(
        user_id=user_id,
        name=name,
        kind=Attachment.Kind.IMAGE,
        size_bytes=0,
        tokens=0,
        notes=[problem],
        text=received.address,
    )
    await writer.arun(lambda: row.save(force_insert=True))
    return image_of(row)


def _problem_of(received: ReceivedImage) -> str:
    """Return why a picture is not kept, as far as that is known before it is read."""
    if received.is_surplus:
        text = _("The model sent more than %(limit)d pictures. The others were not kept.")
        return text % {"limit": IMAGES_MAX}
    if received.address:
        return _("The model sent only the address of a picture, which this site does not load.")
    return "" if received.data else _("The model sent a picture in a form that cannot be read.")


def _decoded(data: str) -> bytes:
    """Return the picture. Raises RequestRefused: `too_large`, `damaged`."""
    if len(data) * 3 // 4 > settings.ATTACHMENT_MAX_BYTES:
        limit = filesizeformat(settings.ATTACHMENT_MAX_BYTES)
        raise RequestRefused("too_large", _("It is larger than %(limit)s.") % {"limit": limit})
    try:
        return b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused("damaged", _("It arrived damaged.")) from None
