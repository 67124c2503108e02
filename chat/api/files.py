"""/v1/files: upload, list, read and delete files, and read the results of batches."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from chat.api import attached, batch_results
from chat.api.auth import authenticate
from chat.api.errors import ApiError, json_response
from chat.attachments.serving import pieces_of
from chat.errors import RequestRefused
from chat.models import ApiKey, Batch, StoredFile
from chat.models.attachment import UNUSED_KEPT, Attachment
from chat.models.stored_file import KEPT, SLICE_BYTES
from chat.runtime.process import current_runtime
from chat.text import clean

LISTED_MAX, LISTED_DEFAULT = 10_000, 1_000
# Files with these purposes are attachments, which messages name by their id.
ATTACHED_PURPOSES = ("user_data", "vision", "assistants")


class FileObject(msgspec.Struct, frozen=True):
    """A file in OpenAI's format. Times in Unix seconds."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None = None
    object: str = "file"
    status: str = "processed"


class FileList(msgspec.Struct, frozen=True):
    """`has_more` is always false: the list has all files."""

    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    object: str = "list"
    has_more: bool = False


class DeletedFile(msgspec.Struct, frozen=True):
    id: str
    object: str = "file"
    deleted: bool = True


def as_wire(file: StoredFile | Attachment) -> FileObject:
    if isinstance(file, Attachment):
        since = file.unused_since
        kept_until = None if since is None else int((since + UNUSED_KEPT).timestamp())
        return FileObject(
            StoredFile.wire_id_of(file.pk),
            file.size_bytes,
            int(file.created_at.timestamp()),
            file.name,
            ATTACHED_PURPOSES[0],
            kept_until,
        )
    return FileObject(
        file.wire_id,
        file.size_bytes,
        int(file.created_at.timestamp()),
        file.name,
        file.purpose,
        int((file.created_at + KEPT).timestamp()),
    )


async def create(request: HttpRequest) -> HttpResponseBase:
    """Store an uploaded file, slice by slice."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    # In a thread: the body is parsed, and copied to slices.
    file = await sync_to_async(_store, thread_sensitive=False)(request, key)
    return json_response(as_wire(file))


def _store(request: HttpRequest, key: ApiKey) -> StoredFile | Attachment:
    try:
        uploaded = request.FILES.get("file")
        purpose = clean(request.POST.get("purpose", ""))[:40]
    except MultiPartParserError as error:
        raise ApiError("malformed_request", _("The body is not a valid multipart form.")) from error
    if uploaded is None:
        raise ApiError(
            "invalid_value", _("Send the file as the field “file” of a multipart form."), param="file"
        )
    name = clean(uploaded.name or "file")[:200]
    if purpose in ATTACHED_PURPOSES:
        return attached.store(key, uploaded, name, uploaded.content_type or "", "file")
    if purpose != "batch":
        purposes = ", ".join(("batch", *ATTACHED_PURPOSES))
        text = _("Unknown “purpose”. Known are: %(purposes)s.") % {"purposes": purposes}
        raise ApiError("invalid_value", text, param="purpose")
    limit = settings.BATCH_UPLOAD_MAX_BYTES
    if (uploaded.size or 0) > limit:
        text = _("The file is larger than %(limit)d bytes. Divide it.") % {"limit": limit}
        raise ApiError("request_too_large", text, param="file")
    file = StoredFile(
        user_id=key.user_id, api_key=key, name=name, purpose=purpose, size_bytes=uploaded.size or 0
    )
    writer = current_runtime().writer
    writer.run(partial(file.save, force_insert=True))
    for number, data in enumerate(uploaded.chunks(SLICE_BYTES)):
        writer.run(partial(StoredFile.add_slice, file.pk, number, bytes(data)))
    file.is_complete = True
    writer.run(partial(file.save, update_fields=["is_complete"]))
    return file


async def index(request: HttpRequest) -> HttpResponseBase:
    """List the user's files, the newest first."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    limit = LISTED_DEFAULT
    with suppress(ValueError):
        limit = min(max(1, int(request.GET.get("limit", limit))), LISTED_MAX)
    purpose = request.GET.get("purpose", "")
    files = await database_sync_to_async(_listed)(key, purpose, limit)
    first, last = (files[0].id, files[-1].id) if files else (None, None)
    return json_response(FileList(files, first, last))


def _listed(key: ApiKey, purpose: str, limit: int) -> list[FileObject]:
    found: list[StoredFile | Attachment] = []
    if purpose not in ATTACHED_PURPOSES:
        stored = StoredFile.objects.of(key.user)
        found += (stored.filter(purpose=purpose) if purpose else stored)[:limit]
    if purpose in ("", *ATTACHED_PURPOSES):
        attachments = Attachment.objects.of(key.user).filter(content__isnull=False)
        found += attachments.defer("text").order_by("-created_at")[:limit]
    found.sort(key=lambda each: each.created_at, reverse=True)
    return [as_wire(each) for each in found[:limit]]


async def show(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Describe a file."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    if (result := batch_results.parse_id(wire_id)) is not None:
        batch = await database_sync_to_async(_batch_of)(key, result)
        created = int((batch.finished_at or batch.created_at).timestamp())
        return json_response(FileObject(wire_id, 0, created, f"{wire_id}.jsonl", "batch_output"))
    return json_response(as_wire(await database_sync_to_async(find_any)(key, wire_id)))


async def delete(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Delete a file. Batches that were made of it are not changed; one that messages have stays."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    file = await database_sync_to_async(find_any)(key, wire_id)
    await current_runtime().writer.arun(partial(_delete, file))
    return json_response(DeletedFile(wire_id))


def _delete(file: StoredFile | Attachment) -> None:
    if isinstance(file, Attachment):
        Attachment.objects.select_for_update().get(pk=file.pk)
        if file.uses.exists():
            raise ApiError(
                "conflict", _("Messages have this file. It is deleted with the last of their conversations.")
            )
    file.delete()


async def content(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Return the content of a file, or the results of a batch."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    if (result := batch_results.parse_id(wire_id)) is not None:
        batch = await database_sync_to_async(_batch_of)(key, result)
        parts = batch_results.lines(batch, is_error_file=result.is_error_file)
    else:
        file = await database_sync_to_async(find_any)(key, wire_id)
        parts = await database_sync_to_async(_pieces)(file)
    return StreamingHttpResponse(_stream(parts), content_type="application/octet-stream")


def _pieces(file: StoredFile | Attachment) -> Iterator[bytes]:
    if isinstance(file, StoredFile):
        return file.slices()
    assert file.content is not None
    try:
        return pieces_of(file.content)
    except RequestRefused as refused:
        raise ApiError.of(refused) from refused


async def _stream(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await database_sync_to_async(next)(parts, None)) is not None:
        yield part


def find_any(key: ApiKey, wire_id: str) -> StoredFile | Attachment:
    """Return a file of the key's user, or an attachment. Raises ApiError `not_found`."""
    try:
        return find(key, wire_id)
    except ApiError:
        return attached.find(key, wire_id)


def find(key: ApiKey, wire_id: str, param: str | None = None) -> StoredFile:
    """Return a file of the key's user. Raises ApiError `not_found`, also for another user's."""
    found: Any = None
    with suppress(ValueError):
        pk = uuid.UUID(hex=wire_id.removeprefix(StoredFile.WIRE_PREFIX))
        found = StoredFile.objects.of(key.user).filter(pk=pk).first()
    if not isinstance(found, StoredFile):
        raise ApiError("not_found", _("There is no file “%(id)s”.") % {"id": wire_id[:80]}, param=param)
    return found


def _batch_of(key: ApiKey, result: batch_results.ResultFile) -> Batch:
    found = Batch.objects.of(key.user).select_related("model__endpoint").filter(pk=result.batch_id).first()
    if found is None:
        raise ApiError("not_found", _("There is no such file."))
    return found
