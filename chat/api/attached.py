"""The files of a request become attachments of its user: stored once, and read as uploaded ones are."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import IO

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from chat.api.errors import ApiError
from chat.api.file_parts import TakenFiles
from chat.attachments.upload import Readable, store_upload
from chat.errors import RequestRefused
from chat.models import ApiKey
from chat.models.attachment import Attachment
from chat.models.stored_file import StoredFile
from chat.runtime.process import current_runtime


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that was in a message; see InlineFile."""

    reference: str
    name: str
    media_type: str
    file: IO[bytes]


@dataclass(frozen=True, slots=True)
class ReceivedFiles:
    """The files of a request, and the ids of stored ones that it names."""

    files: Sequence[ReceivedFile] = ()
    ids: Sequence[str] = ()

    @classmethod
    def of(cls, taken: TakenFiles) -> ReceivedFiles:
        """Return the files of a body that is in memory."""
        files = [
            ReceivedFile(each.reference, each.name, each.media_type, BytesIO(each.data))
            for each in taken.files
        ]
        return cls(files, taken.ids)


NO_FILES = ReceivedFiles()


async def store_files(key: ApiKey, received: ReceivedFiles, param: str) -> dict[str, str]:
    """Store files as attachments of the key's user; return the attachments' ids by reference.

    Raises ApiError: `invalid_file`, with the reason; `not_found`.
    """
    found: dict[str, str] = {}
    # Reading a file takes long: not on the thread that all sockets share.
    store_one = database_sync_to_async(store, thread_sensitive=False)
    for each in received.files:
        attachment = await store_one(key, each.file, each.name, each.media_type, param)
        found[each.reference] = str(attachment.pk)
    for file_id in received.ids:
        attachment = await database_sync_to_async(find)(key, file_id, param)
        found[file_id] = str(attachment.pk)
    return found


def store(key: ApiKey, file: Readable, name: str, declared_type: str, param: str) -> Attachment:
    """Store a file as an attachment of the key's user.

    Raises ApiError `invalid_file`, with the reason, and `storage_unavailable`.
    """
    writer = current_runtime().writer
    try:
        return store_upload(writer, key.user, file, name=name, declared_type=declared_type)
    except RequestRefused as refused:
        if refused.code == "storage_unavailable":
            raise ApiError(refused.code, refused.message) from refused
        text = _("“%(name)s”: %(reason)s") % {"name": name, "reason": refused.message}
        raise ApiError("invalid_file", text, param=param) from refused


def find(key: ApiKey, file_id: str, param: str | None = None) -> Attachment:
    """Return a stored file of the key's user. Raises ApiError `not_found`, also for another user's."""
    try:
        pk = uuid.UUID(hex=file_id.removeprefix(StoredFile.WIRE_PREFIX))
        return Attachment.objects.get_for(key.user, pk)
    except (ValueError, RequestRefused) as exc:
        raise ApiError(
            "not_found", _("There is no file “%(id)s”.") % {"id": file_id[:80]}, param=param
        ) from exc
