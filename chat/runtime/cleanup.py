"""Delete what is kept for a while only: logs of answers, deleted conversations, what policies end, sessions.

Users and conversations that staff deleted are erased here as well, at once.

A cleanup goes by slices, each a transaction of the writer that takes about `SLICE_S`: answers in progress
wait for at most one slice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.attachments.files import delete_loose_files
from chat.event_log import read
from chat.event_log.writer import Writer
from chat.models.attachment import Attachment
from chat.models.batch import Batch
from chat.models.budget_use import settle_abandoned
from chat.models.conversation import Conversation
from chat.models.device import Device
from chat.models.embedding_call import EmbeddingCall
from chat.models.erasure import Erasure
from chat.models.generation import Generation
from chat.models.large_request import LargeRequest, RequestSlice
from chat.models.long_text import TextSlice
from chat.models.message import Message
from chat.models.retention import LegalHold
from chat.models.stored_file import StoredFile
from chat.review.retention import apply_policies, forget_in_logs
from chat.search import index

logger = logging.getLogger(__name__)

# What a slice aims at. A delta may wait 50 ms: rows differ, the commit comes on top, and so does other load.
SLICE_S = 0.015
# Between two slices, all other work has the writer this many times as long as the slice took.
PAUSE_FACTOR = 2
# With fewer rows a slice would be mostly overhead.
ROWS_MIN = 50
ROWS_MAX = 5_000
DELETED_KEPT = timedelta(days=1)
# A slice of a large request takes as long to delete as so many ordinary rows.
ROWS_PER_SLICE = 25
# Pages that are still showing a finished answer replay its events, also after a sleep of some minutes.
LOG_KEPT = timedelta(minutes=10)

# Deletes about as many rows as it is told and returns the number; a smaller number means that it is done.
type CleanupStep = Callable[[int], int]


class Cleanup:
    """The cleanup of one process; at most one runs at a time."""

    def __init__(self) -> None:
        self._is_running = self._is_wanted = False

    async def run(self, writer: Writer) -> None:
        """Run all steps, slice by slice. If a run is going on, it is repeated for what was erased since."""
        self._is_wanted = True
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._is_wanted:
                self._is_wanted = False
                for step in STEPS:
                    await _in_slices(writer, step)
                await delete_loose_files(writer)
        finally:
            self._is_running = False


async def _in_slices(writer: Writer, step: CleanupStep) -> None:
    rows = ROWS_MIN
    while True:
        deleted, took_s = await writer.arun(partial(_timed, step, rows))
        if deleted < rows:
            return
        rows = next_slice_rows(rows, took_s)
        await asyncio.sleep(PAUSE_FACTOR * max(took_s, SLICE_S))


def _timed(step: CleanupStep, rows: int) -> tuple[int, float]:
    started_s = time.monotonic()
    return step(rows), time.monotonic() - started_s


def next_slice_rows(rows: int, took_s: float) -> int:
    """Return how many rows the next slice may take, after a slice of `rows` took `took_s`."""
    fitting = int(rows * SLICE_S / max(took_s, SLICE_S / 2))  # at most twice as many
    return min(max(fitting, ROWS_MIN), ROWS_MAX)


def prune_logs(rows: int) -> int:
    """Delete rows of the logs of answers that ended LOG_KEPT ago or earlier."""
    before = timezone.now() - LOG_KEPT
    finished = Generation.objects.filter(finished_at__lt=before, has_log=True).order_by("finished_at")
    deleted, pruned = 0, []
    for generation_id in finished.values_list("pk", flat=True)[:rows]:
        deleted += read.prune(generation_id, rows - deleted)
        if deleted >= rows:
            break
        pruned.append(generation_id)
        deleted += 1
    Generation.objects.filter(pk__in=pruned).update(has_log=False)
    return deleted


def delete_slices(rows: int) -> int:
    """Delete slices of large requests: without a generation, or of conversations that are to be erased."""
    limit = max(1, rows // ROWS_PER_SLICE)
    deleted = LargeRequest.delete_slices(
        RequestSlice.objects.filter(large_request__in=LargeRequest.objects.orphaned()), limit
    )
    if deleted < limit:
        ids = list(islice(_erasable(), rows))
        erased = RequestSlice.objects.filter(large_request__generation__message__conversation__in=ids)
        deleted += LargeRequest.delete_slices(erased, limit - deleted)
    return rows if deleted == limit else 0


def delete_text_slices(rows: int) -> int:
    """Delete slices of texts of messages that were stored before a crash and are not used."""
    limit = max(1, rows // ROWS_PER_SLICE)
    return rows if TextSlice.delete_abandoned(limit) == limit else 0


def erase_deleted(rows: int) -> int:
    """Erase messages, and all that refers to them, of conversations that are to be erased.

    The newest messages go first: an answer is always newer than its question.
    """
    messages: list[int] = []
    emptied: list[UUID] = []
    for conversation_id in _erasable():
        room = rows - len(messages) - len(emptied)
        newest = Message.objects.filter(conversation_id=conversation_id).order_by("-pk")
        messages += newest.values_list("pk", flat=True)[:room]
        if len(messages) + len(emptied) >= rows:
            break
        emptied.append(conversation_id)
    logs = Generation.objects.filter(message__in=messages, has_log=True)
    for generation_id in logs.values_list("pk", flat=True):
        read.prune(generation_id)
    Message.objects.filter(pk__in=messages).delete()
    forget_in_logs(emptied)
    Conversation.objects.filter(pk__in=emptied).delete()
    return len(messages) + len(emptied)


def erase_users(rows: int) -> int:
    """Erase users whose conversations are erased; first those of their other rows that may be many."""
    erased = 0
    for erasure in Erasure.due():
        if erasure.user_id is None or Conversation.objects.filter(user=erasure.user_id).exists():
            continue
        if LegalHold.objects.active().filter(user=erasure.user_id).exists():
            continue
        own = Batch.objects.filter(user=erasure.user_id)
        if deleted := Batch.delete_some(own, rows - erased):
            return erased + deleted if erased + deleted >= rows else rows
        for table in (Generation, EmbeddingCall, LogEntry, Attachment):
            ids = table.objects.filter(user=erasure.user_id).values_list("pk", flat=True)[: rows - erased]
            erased += table.objects.filter(pk__in=list(ids)).delete()[0]
            if erased >= rows:
                return erased
        get_user_model().objects.filter(pk=erasure.user_id).delete()
        logger.info("erased all rows of user %d", erasure.user_id)
        erased += 1
    return erased


def _erasable() -> Iterator[UUID]:
    """Return the conversations to erase, lazily, since there may be many. None is under a legal hold."""
    free = Conversation.objects.exclude(LegalHold.objects.held())
    old = free.filter(deleted_at__lt=timezone.now() - DELETED_KEPT).order_by("deleted_at")
    yield from old.values_list("pk", flat=True)[:ROWS_MAX]
    expired = free.filter(expires_at__lt=timezone.now()).order_by("expires_at")
    yield from expired.values_list("pk", flat=True)[:ROWS_MAX]
    for erasure in Erasure.due():
        if erasure.conversation_id is not None:
            if free.filter(pk=erasure.conversation_id).exists():
                yield erasure.conversation_id
        else:
            own = free.filter(user=erasure.user_id).values_list("pk", flat=True)
            yield from own[:ROWS_MAX]


def delete_expired_sessions(rows: int) -> int:
    """Delete sessions that have expired."""
    expired = Session.objects.filter(expire_date__lt=timezone.now()).values_list("pk", flat=True)[:rows]
    return Session.objects.filter(pk__in=list(expired)).delete()[0]


def forget_words(rows: int) -> int:
    """Merge some of the search index, so that the words of erased messages leave its blocks."""
    return rows if index.merge_some(rows) else 0


# Policies first: what they end is erased by the steps after.
STEPS: tuple[CleanupStep, ...] = (
    *(prune_logs, apply_policies, delete_slices, delete_text_slices, erase_deleted, erase_users),
    *(
        delete_expired_sessions,
        Attachment.delete_unused,
        Device.delete_unused,
        EmbeddingCall.delete_old,
        Batch.delete_outdated,
        StoredFile.delete_outdated,
        forget_words,
        settle_abandoned,
    ),
)
