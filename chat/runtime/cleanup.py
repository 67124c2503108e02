"""Delete what is kept for a while only: logs of finished answers, deleted conversations, expired sessions.

A cleanup goes by slices, each a transaction of the writer that takes about `SLICE_S`: answers in progress
wait for at most one slice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.event_log import read
from chat.event_log.writer import Writer
from chat.models.conversation import Conversation
from chat.models.generation import Generation
from chat.models.large_request import LargeRequest, RequestSlice
from chat.models.message import Message

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
        self._is_running = False

    async def run(self, writer: Writer) -> None:
        """Run all steps, slice by slice. Do nothing if one is running already."""
        if self._is_running:
            return
        self._is_running = True
        try:
            for step in (prune_logs, delete_slices, erase_deleted, delete_expired_sessions):
                await _in_slices(writer, step)
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
    """Delete slices of large requests: without a generation, or of conversations deleted over a day ago."""
    limit = max(1, rows // ROWS_PER_SLICE)
    deleted = LargeRequest.delete_slices(
        RequestSlice.objects.filter(large_request__in=LargeRequest.objects.orphaned()), limit
    )
    if deleted < limit:
        old = Conversation.objects.filter(deleted_at__lt=timezone.now() - DELETED_KEPT)
        ids = list(old.order_by("deleted_at").values_list("pk", flat=True)[:rows])
        erased = RequestSlice.objects.filter(large_request__generation__message__conversation__in=ids)
        deleted += LargeRequest.delete_slices(erased, limit - deleted)
    return rows if deleted == limit else 0


def erase_deleted(rows: int) -> int:
    """Erase messages, and all that refers to them, of conversations that were deleted over a day ago.

    The newest messages go first: an answer is always newer than its question.
    """
    old = Conversation.objects.filter(deleted_at__lt=timezone.now() - DELETED_KEPT).order_by("deleted_at")
    messages: list[int] = []
    emptied: list[UUID] = []
    for conversation_id in old.values_list("pk", flat=True)[:rows]:
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
    Conversation.objects.filter(pk__in=emptied).delete()
    return len(messages) + len(emptied)


def delete_expired_sessions(rows: int) -> int:
    """Delete sessions that have expired."""
    expired = Session.objects.filter(expire_date__lt=timezone.now()).values_list("pk", flat=True)[:rows]
    return Session.objects.filter(pk__in=list(expired)).delete()[0]
