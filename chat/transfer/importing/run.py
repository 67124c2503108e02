"""Run an import: a child process reads, the writer stores. Any process can continue where another ended."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from django.conf import settings
from django.utils import timezone

from chat.event_log.writer import Writer
from chat.models import ConversationImport
from chat.models.conversation_import import REPORT_KEPT, UPLOAD_KEPT
from chat.transfer.importing import undo
from chat.transfer.importing.files import FileReceiver, KeepFile
from chat.transfer.importing.frames import (
    FRAME_MAX_BYTES,
    BeginFrame,
    ConversationHead,
    EndFrame,
    FilePiece,
    ImportFrame,
    MessageBatch,
    decode_frame,
)
from chat.transfer.importing.store import ImportStore, ImportSuperseded, StoredSlice

Status = ConversationImport.Status
# Frames that wait to be stored: this bounds memory.
WAITING_MAX_BYTES = 1024 * 1024
WAITING_MAX_FRAMES = 16
# A run that reads for long without finding anything says that it lives.
ALIVE_EVERY_S = 10.0
# How often the length of a slice an import pauses after it while answers run, and for a while after them: the
# questions of a conversation follow each other, and each would wait for a slice.
BUSY_PAUSES = 10
BUSY_AFTER_S = 3.0
_ROOT = Path(__file__).resolve().parents[3]


def upload_path(pk: uuid.UUID) -> Path:
    """Return where the upload of an import is kept until it has ended."""
    return Path(settings.DATA_DIR) / "imports" / str(pk)


type IsBusy = Callable[[], bool]


async def run_import(
    writer: Writer,
    pk: uuid.UUID,
    path: Path | None = None,
    *,
    keep_file: KeepFile | None = None,
    is_busy: IsBusy = lambda: False,
) -> bool:
    """Run or continue an import, or the undoing of one; return whether it was free.

    `path`: of its file. `keep_file`: stores the files of messages; None: they are only named.
    `is_busy`: whether answers run here, which an import then leaves most of the time.
    """
    imported = await writer.arun(partial(ConversationImport.claim, pk))
    if imported is None:
        return False
    with suppress(ImportSuperseded):
        if imported.status == Status.UNDOING:
            await undo.run(writer, imported)
        else:
            source = path or upload_path(pk)
            problem = await _read_and_store(writer, imported, source, keep_file, _LastingBusy(is_busy))
            await writer.arun(partial(_end, imported, problem))
            if path is None:
                upload_path(pk).unlink(missing_ok=True)
    return True


class _LastingBusy:
    """Whether answers run, or did a moment ago."""

    def __init__(self, is_busy: IsBusy) -> None:
        self._is_busy, self._until_s = is_busy, 0.0

    def __call__(self) -> bool:
        if self._is_busy():
            self._until_s = time.monotonic() + BUSY_AFTER_S
        return time.monotonic() < self._until_s


async def _read_and_store(
    writer: Writer, imported: ConversationImport, path: Path, keep_file: KeepFile | None, is_busy: IsBusy
) -> str:
    """Store everything that the child reads; return why it ended early, or nothing."""
    if not await asyncio.to_thread(path.exists):
        return "The uploaded file is gone. Upload it again: what was imported is not imported twice."
    store: ImportStore = await writer.arun(partial(ImportStore, imported))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chat.transfer.importing.child", str(path), str(imported.position)),
        cwd=_ROOT,
        # The child parses untrusted text and needs none of our secrets.
        env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdout is not None
    folder = Path(settings.DATA_DIR) / "incoming"
    alive = partial(writer.arun, partial(store.store, ()))
    files = FileReceiver(imported.user_id, folder, keep_file, alive)
    try:
        return await _store_frames(writer, store, files, child.stdout, is_busy)
    finally:
        files.close()
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _store_frames(
    writer: Writer, store: ImportStore, files: FileReceiver, stream: asyncio.StreamReader, is_busy: IsBusy
) -> str:
    waiting: list[ImportFrame] = []
    size = 0
    while True:
        try:
            data = await _next_frame(writer, store, stream)
            frame = decode_frame(data)
        except (asyncio.IncompleteReadError, msgspec.MsgspecError, ValueError):
            await _store_all(writer, store, waiting, is_busy)
            return "Reading the file took too much time or memory. What was read until then is imported."
        if isinstance(frame, BeginFrame):
            await writer.arun(partial(store.begin, frame.total_bytes))
            continue
        if isinstance(frame, EndFrame):
            await _store_all(writer, store, waiting, is_busy)
            return frame.problem
        if isinstance(frame, FilePiece):
            files.add(frame)
            continue
        if isinstance(frame, ConversationHead):
            known = await writer.arun(partial(store.known, frame)) if frame.has_files else {}
            files.begin(frame.conversation, known)
        elif isinstance(frame, MessageBatch):
            await files.settle(frame.messages)
        waiting.append(frame)
        size += len(data)
        if size > WAITING_MAX_BYTES or len(waiting) >= WAITING_MAX_FRAMES:
            await _store_all(writer, store, waiting, is_busy)
            size = 0


async def _next_frame(writer: Writer, store: ImportStore, stream: asyncio.StreamReader) -> bytes:
    """Return the next frame, however long the child reads for it."""
    size: int | None = None
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_EVERY_S):
                if size is None:
                    size = int.from_bytes(await stream.readexactly(4), "big")
                    if size > FRAME_MAX_BYTES:
                        raise ValueError("the frame is too large")
                return await stream.readexactly(size)
        await writer.arun(partial(store.store, ()))


async def _store_all(writer: Writer, store: ImportStore, waiting: list[ImportFrame], is_busy: IsBusy) -> None:
    while waiting:
        done: StoredSlice = await writer.arun(partial(store.store, list(waiting)))
        store.committed(done)
        del waiting[: done.frames]
        # All other work has the writer for as long as this slice took, and for longer while answers run.
        await asyncio.sleep(done.took_s * (BUSY_PAUSES if is_busy() else 1))


def _end(imported: ConversationImport, problem: str) -> None:
    own = ConversationImport.objects.filter(pk=imported.pk, epoch=imported.epoch)
    now = timezone.now()
    status = Status.FAILED if problem else Status.DONE
    if not own.update(status=status, problem=problem[:300], finished_at=now, changed_at=now):
        raise ImportSuperseded(str(imported.pk))


async def tidy(writer: Writer) -> list[uuid.UUID]:
    """Delete what is left of old uploads and reports; return the imports that wait for a process here."""
    return await writer.arun(_tidy)


def _tidy() -> list[uuid.UUID]:
    now = timezone.now()
    imports = ConversationImport.objects
    imports.filter(status=Status.UPLOADING, changed_at__lt=now - UPLOAD_KEPT).delete()
    old = imports.filter(finished_at__lt=now - REPORT_KEPT).values_list("pk", flat=True)[:20]
    imports.filter(pk__in=list(old)).delete()
    gone = imports.runnable().filter(changed_at__lt=now - UPLOAD_KEPT).exclude(status=Status.UNDOING)
    gone.update(status=Status.FAILED, problem="The process that ran it has ended.", finished_at=now)
    folder = upload_path(uuid.UUID(int=0)).parent
    if folder.is_dir():
        kept = {str(pk) for pk in imports.filter(finished_at=None).values_list("pk", flat=True)}
        for path in folder.iterdir():
            is_old = path.stat().st_mtime < now.timestamp() - UPLOAD_KEPT.total_seconds()
            if path.name not in kept and is_old:
                path.unlink(missing_ok=True)
    found = imports.runnable().order_by("pk")[:20]
    return [each.pk for each in found if each.status == Status.UNDOING or upload_path(each.pk).exists()]
