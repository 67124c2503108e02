"""Take in an uploaded file: receive it, extract what a model can read, store its contents, then its rows."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import IO, Protocol

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.attachments.extraction.run import extract
from chat.attachments.extraction.types import Extracted, ExtractionRefused
from chat.attachments.files import incoming_folder
from chat.errors import RequestRefused
from chat.event_log.writer import Writer
from chat.generation.usage import estimate_tokens
from chat.models.attachment import Attachment, AttachmentPage
from chat.models.limits import lock_user
from chat.models.stored_content import PIECE_BYTES, LooseFile, NewContent, StoredContent

logger = logging.getLogger(__name__)

# About what providers count for a picture: pixels divided by this number, and some for the smallest.
PIXELS_PER_TOKEN = 750
PICTURE_TOKENS_MIN = 85


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Received:
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _WrittenFile:
    """A content whose file is written, and what it is."""

    content: NewContent
    media_type: str


def store_upload(
    writer: Writer, user: AbstractUser, source: Readable, *, name: str, declared_type: str
) -> Attachment:
    """Store a file of the user, or return the attachment that the same upload made before.

    Raises RequestRefused: `too_large`, `quota`, `storage_unavailable`, or a code of ExtractionRefused.
    """
    with _received(source) as received:
        known = Attachment.objects.of(user).filter(upload_sha256=received.sha256, name=name).first()
        if known is not None and writer.run(partial(_renew, known)):
            return known
        check_quota(user, received.size_bytes)
        try:
            extracted = async_to_sync(extract)(received.path, name, declared_type)
        except ExtractionRefused as refused:
            raise RequestRefused(refused.code, refused.message) from refused
        try:
            files = _write_contents(writer, received.path, extracted)
        except OSError as exc:
            logger.error("an uploaded file cannot be stored: %s", exc)
            text = _("The file could not be stored. Try again in a moment.")
            raise RequestRefused("storage_unavailable", text) from exc
    row = _row(user, name, received.sha256, extracted)
    operation = partial(_insert, row, files)
    try:
        return writer.run(operation, user_id=user.pk)
    except IntegrityError:  # another process stored the same content at this moment: now it is found
        return writer.run(operation, user_id=user.pk)


@contextmanager
def _received(source: Readable) -> Iterator[_Received]:
    """Receive the file into a folder of its own, as long as the block runs. Raises RequestRefused."""
    folder = incoming_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / token_hex(16)
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as file:
            while piece := source.read(PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
                if size > settings.ATTACHMENT_MAX_BYTES:
                    limit = filesizeformat(settings.ATTACHMENT_MAX_BYTES)
                    text = _("The file is larger than %(limit)s. Send a smaller one.") % {"limit": limit}
                    raise RequestRefused("too_large", text)
                file.write(piece)
        yield _Received(path, digest.hexdigest(), size)
    finally:
        path.unlink(missing_ok=True)


def _renew(known: Attachment) -> bool:
    """Keep an attachment for a draft again. Return whether it is still there."""
    rows = Attachment.objects.filter(pk=known.pk)
    return bool(rows.filter(unused_since=None).exists() or rows.update(unused_since=timezone.now()))


def check_quota(user: AbstractUser, more_bytes: int) -> None:
    """Check that the user may store so much more. Raises RequestRefused `quota`."""
    quota = settings.ATTACHMENT_QUOTA_BYTES
    if Attachment.objects.bytes_of(user) + more_bytes > quota:
        text = _("Your files would take more than %(quota)s. Delete conversations with files, and try again.")
        raise RequestRefused("quota", text % {"quota": filesizeformat(quota)})


def _write_contents(writer: Writer, path: Path, extracted: Extracted) -> list[_WrittenFile]:
    """Write the files: the picture, or the document and its pages. Of a picture, the original is not kept."""
    pictures = [(BytesIO(image.data), image.media_type) for image in extracted.images]
    if extracted.kind == "image":
        return [_write(writer, *pictures[0])]
    with path.open("rb") as original:
        first = _write(writer, original, extracted.media_type)
    return [first, *(_write(writer, *picture) for picture in pictures)]


def _write(writer: Writer, file: IO[bytes], media_type: str) -> _WrittenFile:
    new = NewContent.of(file)
    writer.run(LooseFile(path=new.path).save)
    new.write(file)
    return _WrittenFile(new, media_type)


async def store_picture(writer: Writer, user: AbstractUser, data: bytes, name: str) -> Attachment:
    """Store a picture that a model made for the user, as a new attachment. `name`: without its ending.

    Raises RequestRefused: `quota`, `unsupported`, or a code of ExtractionRefused.
    """
    await writer.arun(partial(check_quota, user, len(data)))
    path = incoming_folder() / token_hex(16)
    try:
        await asyncio.to_thread(_write_incoming, path, data)
        extracted = await extract(path, name, "")
    except ExtractionRefused as refused:
        raise RequestRefused(refused.code, refused.message) from refused
    finally:
        path.unlink(missing_ok=True)
    if extracted.kind != "image":
        raise RequestRefused("unsupported", _("It is in no format of pictures that is known here."))
    image = extracted.images[0]
    file = await _write_piece(writer, image.data, image.media_type)
    name = f"{name}.{'jpg' if image.media_type == 'image/jpeg' else 'png'}"
    row = _row(user, name, hashlib.sha256(data).hexdigest(), extracted)
    return await _inserted(writer, row, [file])


async def store_again(writer: Writer, user: AbstractUser, path: Path, name: str) -> Attachment:
    """Store a file that was an attachment before, as a new one. A picture stays as it is if that is safe.

    Raises RequestRefused: `quota`, or a code of ExtractionRefused.
    """
    await writer.arun(partial(check_quota, user, (await asyncio.to_thread(path.stat)).st_size))
    try:
        extracted = await extract(path, name, "", keeps_stored=True)
    except ExtractionRefused as refused:
        raise RequestRefused(refused.code, refused.message) from refused
    files = [
        await _write_piece(writer, *each) for each in await asyncio.to_thread(_contents, path, extracted)
    ]
    row = _row(user, name, await asyncio.to_thread(_sha256, path), extracted)
    return await _inserted(writer, row, files)


def _contents(path: Path, extracted: Extracted) -> list[tuple[bytes, str]]:
    pictures: list[tuple[bytes, str]] = [(image.data, image.media_type) for image in extracted.images]
    return pictures if extracted.kind == "image" else [(path.read_bytes(), extracted.media_type), *pictures]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _write_piece(writer: Writer, data: bytes, media_type: str) -> _WrittenFile:
    content = await asyncio.to_thread(NewContent.of, BytesIO(data))
    await writer.arun(LooseFile(path=content.path).save)
    await asyncio.to_thread(content.write, BytesIO(data))
    return _WrittenFile(content, media_type)


async def _inserted(writer: Writer, row: Attachment, files: Sequence[_WrittenFile]) -> Attachment:
    operation = partial(_insert, row, files)
    try:
        return await writer.arun(operation, user_id=row.user_id)
    except IntegrityError:  # as in `store_upload`
        return await writer.arun(operation, user_id=row.user_id)


def _write_incoming(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(data)


def _row(user: AbstractUser, name: str, sha256: str, extracted: Extracted) -> Attachment:
    pixels = [image.width * image.height for image in extracted.images]
    tokens = sum(max(PICTURE_TOKENS_MIN, each // PIXELS_PER_TOKEN) for each in pixels)
    picture = extracted.images[0] if extracted.kind == "image" else None
    return Attachment(
        user_id=user.pk,
        name=name,
        kind=extracted.kind,
        upload_sha256=sha256,
        text=extracted.text,
        notes=list(extracted.notes),
        tokens=estimate_tokens(extracted.text) if extracted.text else tokens,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        page_count=extracted.pages,
        is_truncated=extracted.is_truncated,
    )


def _insert(row: Attachment, files: Sequence[_WrittenFile]) -> Attachment:
    """Store the rows of files that are written. In a transaction. Raises RequestRefused `quota`."""
    lock_user(row.user_id)
    size = sum(each.content.size_bytes for each in files)
    check_quota(row.user, size)
    contents = [StoredContent.adopt(each.content) for each in files]
    row.content, row.media_type, row.size_bytes = contents[0], files[0].media_type, size
    row.save(force_insert=True)
    AttachmentPage.objects.bulk_create(
        AttachmentPage(attachment=row, number=number, content=content, media_type=file.media_type)
        for number, (content, file) in enumerate(zip(contents[1:], files[1:], strict=True), 1)
    )
    return row
