"""Files that an import brings from another Chatsite: each is read again, for the archive is a stranger's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import UUID

from django.contrib.auth import get_user_model

from chat.attachments.upload import store_again
from chat.event_log.writer import Writer
from chat.generation.usage import estimate_tokens
from chat.models.attachment import Attachment
from chat.transfer.formats.parsed import ParsedFile


async def keep_imported(writer: Writer, user_id: int, path: Path | None, claimed: ParsedFile) -> UUID:
    """Store a file as a new attachment, with the words that its export has of it; return its id.

    `path`: None: it had no content there. Raises RequestRefused.
    """
    tokens = 0 if claimed.kind == "image" else estimate_tokens(claimed.text)
    if path is None:
        row = Attachment(
            user_id=user_id,
            name=claimed.name,
            kind=claimed.kind,
            size_bytes=0,
            text=claimed.text,
            notes=claimed.notes,
            page_count=claimed.pages,
            tokens=tokens,
        )
        await writer.arun(partial(row.save, force_insert=True))
        return row.pk
    user = await writer.arun(lambda: get_user_model().objects.get(pk=user_id))
    row = await store_again(writer, user, path, claimed.name)
    row.notes, row.page_count = claimed.notes, claimed.pages
    if claimed.text and not row.is_image:
        row.text, row.tokens = claimed.text, tokens
    await writer.arun(partial(row.save, update_fields=["notes", "page_count", "text", "tokens"]))
    return row.pk
