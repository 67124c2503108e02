"""Delete files that no row needs: of uploads that did not end, and of attachments that are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from django.conf import settings

from chat.event_log.writer import Writer
from chat.models.stored_content import LOOSE_KEPT, LooseFile, storage

logger = logging.getLogger(__name__)

FILES_AT_ONCE = 100


def incoming_folder() -> Path:
    """Return where files are while they are uploaded and read, outside the storage."""
    return Path(settings.DATA_DIR) / "incoming"


async def delete_loose_files(writer: Writer) -> None:
    """Delete the files that are due, each a moment before its row. What fails is tried again next time."""
    await asyncio.to_thread(_delete_abandoned)
    while True:
        due: dict[int, str] = await writer.arun(partial(LooseFile.take_due, FILES_AT_ONCE))
        if not due:
            return
        try:
            await asyncio.to_thread(_delete, due.values())
        except OSError:
            logger.exception("files of deleted attachments cannot be deleted now")
            return
        await writer.arun(LooseFile.objects.filter(pk__in=list(due)).delete)


def _delete(paths: Iterable[str]) -> None:
    for path in paths:
        storage().delete(path)


def _delete_abandoned() -> None:
    """Delete what uploads left behind whose process was killed."""
    before = time.time() - LOOSE_KEPT.total_seconds()
    folder = incoming_folder()
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
