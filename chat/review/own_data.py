"""What a user takes along or has erased: a ZIP of their own data, and the erasure of it, subject to holds.

The ZIP is made while it is sent, one conversation at a time. It has nothing that reviewers added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, cast
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile

from django.contrib.auth.models import AbstractUser
from django.utils import timezone

from chat.models import (
    ApiKey,
    Attachment,
    Batch,
    Bookmark,
    Conversation,
    Device,
    Erasure,
    Feedback,
    LegalHold,
    ProjectFile,
    RequestSlice,
    StoredFile,
    Tag,
)
from chat.transfer.export import ConversationFile, json_text, safe_name

READ_ROWS = 200


class _Sink:
    """A file that only holds what was written to it since it was last emptied."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Nothing to do: a ZIP file calls it."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


# Writes what another feature has of a user, and yields wherever what was written so far may be sent.
type PartOfZip = Callable[[AbstractUser, ZipFile], Iterator[None]]


def zip_of(user: AbstractUser, *others: PartOfZip) -> Iterator[bytes]:
    """Yield the ZIP of everything that belongs to `user`, in parts. Memory holds one conversation at most.

    Large requests of programs are files of their own, read slice by slice. `others`: what else is written.
    """
    sink = _Sink()
    with ZipFile(cast(IO[bytes], sink), "w", ZIP_DEFLATED) as archive:
        archive.writestr("account.json", json_text(_account(user)))
        for number, pk in enumerate(_ids(user), 1):
            # It may have been erased since the download began.
            conversation = Conversation.objects.select_related("model", "project").filter(pk=pk).first()
            if conversation is None:
                continue
            exported = ConversationFile(conversation)
            name = f"conversations/{number:05}-{safe_name(conversation.title)}"
            archive.writestr(f"{name}.json", exported.as_json())
            archive.writestr(f"{name}.md", exported.as_markdown())
            archive.writestr(f"{name}.html", exported.as_html())
            yield sink.take()
            large = RequestSlice.objects.filter(large_request__generation__message__conversation=pk)
            for generation_id in large.order_by().values_list(_GENERATION, flat=True).distinct():
                yield from _large(archive, sink, f"{name}-request-{generation_id}.json", generation_id)
        for write in others:
            for _ready in write(user, archive):
                yield sink.take()
    yield sink.take()


_GENERATION = "large_request__generation"


def _large(archive: ZipFile, sink: _Sink, name: str, generation_id: int) -> Iterator[bytes]:
    """Write the messages of a large request as a JSON list, and yield what that adds to the ZIP."""
    slices = RequestSlice.objects.filter(large_request__generation=generation_id)
    with archive.open(name, "w", force_zip64=True) as file:
        file.write(b"[")
        for pk in list(slices.order_by("number").values_list("pk", flat=True)):
            file.write(b"".join(RequestSlice.objects.filter(pk=pk).values_list("data", flat=True)))
            yield sink.take()
        file.write(b"]")


def erase(user: AbstractUser, *, with_account: bool) -> bool:
    """Have the user's conversations, batches and files erased, and the account as well.

    Return whether a hold keeps any.
    """
    is_user_held = LegalHold.objects.active().filter(user=user.pk).exists()
    is_held = is_user_held or _own(user).filter(LegalHold.objects.held()).exists()
    if with_account:
        Erasure.objects.request_users([user.pk])
        return is_held
    ids = list(_own(user).values_list("pk", flat=True))
    for start in range(0, len(ids), READ_ROWS):
        Erasure.objects.request_conversations(ids[start : start + READ_ROWS])
    Batch.objects.filter(user=user.pk).erase()
    if not is_user_held:
        StoredFile.objects.filter(user=user.pk).erase()
        ProjectFile.objects.filter(project__user=user.pk).delete()
        Attachment.objects.filter(user=user.pk).erase_unused()
    return is_held


def _own(user: AbstractUser) -> Any:
    """Return the conversations of a user, those of programs too, without those that are deleted."""
    return Conversation.objects.filter(user=user.pk, deleted_at=None, erasure=None)


def _ids(user: AbstractUser) -> Iterator[UUID]:
    yield from list(_own(user).order_by("created_at").values_list("pk", flat=True))


def _account(user: AbstractUser) -> dict[str, Any]:
    feedback = Feedback.objects.filter(user=user.pk)
    keys = ApiKey.objects.filter(user=user.pk)
    return {
        "username": user.get_username(),
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "joined": user.date_joined,
        "exported": timezone.now(),
        "api_keys": list(keys.values("name", "prefix", "created_at", "last_used_at", "revoked_at")),
        "tags": {
            tag.name: list(tag.conversations.values_list("pk", flat=True)) for tag in Tag.objects.of(user)
        },
        "bookmarks": list(Bookmark.objects.of(user).values("message_id", "created_at")),
        "devices": list(Device.objects.filter(user=user.pk).values("agent", "created_at", "last_used_at")),
        "feedback": list(feedback.values("message_id", "value", "reasons", "comment", "created_at")),
    }
