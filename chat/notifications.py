"""Telling a person's open pages that something changed. A notice may be lost; pages re-read on reconnect.

Notices go over the channel layer, one group per person, and so reach every server process.
"""

from __future__ import annotations

import logging
import uuid

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)


def group_of(user_id: int) -> str:
    """Return the name of the group that a person's sockets join."""
    return f"user.{user_id}"


async def achanged(
    user_id: int, conversation_id: uuid.UUID | str, what: str, *, generation_id: int | None = None
) -> None:
    """Tell a person's pages `what` happened to a conversation; see `frames.Changed` for the words."""
    layer = get_channel_layer()
    assert layer is not None
    notice = {
        "type": "changed",
        "conversation": str(conversation_id),
        "what": what,
        "generation": generation_id,
    }
    try:
        await layer.group_send(group_of(user_id), notice)
    except Exception as exc:  # noqa: BLE001 - whatever the layer raises, what happened has happened
        logger.warning("A notice was lost: %s", type(exc).__name__)


def changed(
    user_id: int, conversation_id: uuid.UUID | str, what: str, *, generation_id: int | None = None
) -> None:
    """`achanged` for sync views and commands."""
    async_to_sync(achanged)(user_id, conversation_id, what, generation_id=generation_id)
