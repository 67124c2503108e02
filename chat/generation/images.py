"""Pictures of answers: how a run has them kept, and what becomes of those of an answer that restarts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from chat import events
from chat.models.attachment import Attachment
from chat.upstream import ReceivedImage

# Stores a picture of an answer of this user, the first one having the number 1. One that cannot be stored is
# an event that says why.
type KeepImage = Callable[[int, ReceivedImage, int], Awaitable[events.Image]]


def erase_images(images: Sequence[events.Image]) -> None:
    """Have pictures deleted at the next cleanup that no answer got. In a transaction."""
    Attachment.objects.filter(pk__in=[image.attachment for image in images]).erase_unused()
