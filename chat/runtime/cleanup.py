"""What is thrown away after a while: logs of finished answers, deleted conversations, ended sessions.

A sweep goes by slices, each a transaction of the writer's that takes about `SLICE_S`: answers in progress
wait for at most one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.contrib.sessions.models import Session
from django.tasks import task
from django.utils import timezone

from chat.event_log import log as delta_log
from chat.models.conversation import Conversation, Message
from chat.models.generation import Generation
from chat.models.large_request import LargeRequest, RequestSlice
from chat.runtime.task_backends.local import TaskPriority

# What a slice aims at. A delta may wait 50 ms: rows differ, the commit comes on top, and so does other load.
SLICE_S = 0.015
# Everybody else has the writer this many times as long as a slice had it.
PAUSE_FACTOR = 2
# Fewer would be all overhead.
ROWS_MIN = 50
ROWS_MAX = 5_000
DELETED_KEPT = timedelta(days=1)
# A slice of a large request takes as long to delete as so many ordinary rows.
ROWS_PER_SLICE = 25

# Deletes about as many rows as it is told to and returns how many; fewer: there are no more.
type Sweep = Callable[[int], int]


# One of a process is enough; it may take longer than it is until the next one is asked for.
_one_at_a_time = asyncio.Semaphore()


@task(priority=TaskPriority.BULK)
async def sweep() -> None:
    """Prune old logs, erase what was deleted long ago, forget ended sessions; a slice at a time."""
    if _one_at_a_time.locked():
        return
    async with _one_at_a_time:
        for each in (prune_logs, delete_slices, erase_deleted, forget_sessions):
            await _in_slices(each)


async def _in_slices(each: Sweep) -> None:
    rows = ROWS_MIN
    while True:
        swept, took_s = await delta_log.awrite(partial(_timed, each, rows))
        if swept < rows:
            return
        rows = _rows_next(rows, took_s)
        await asyncio.sleep(PAUSE_FACTOR * max(took_s, SLICE_S))


def _timed(each: Sweep, rows: int) -> tuple[int, float]:
    began_s = time.monotonic()
    return each(rows), time.monotonic() - began_s


def _rows_next(rows: int, took_s: float) -> int:
    """Return how many rows the next slice may take, after `rows` took `took_s`."""
    fitting = int(rows * SLICE_S / max(took_s, SLICE_S / 2))  # at most twice as many
    return min(max(fitting, ROWS_MIN), ROWS_MAX)


def prune_logs(rows: int) -> int:
    """Delete rows of the logs of answers that ended a while ago."""
    before = timezone.now() - timedelta(seconds=settings.LOG_KEPT_S)
    ended = Generation.objects.filter(finished_at__lt=before, has_log=True).order_by("finished_at")
    swept, pruned = 0, []
    for generation_id in ended.values_list("pk", flat=True)[:rows]:
        swept += delta_log.prune(generation_id, rows - swept)
        if swept >= rows:
            break
        pruned.append(generation_id)
        swept += 1
    Generation.objects.filter(pk__in=pruned).update(has_log=False)
    return swept


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
    """Erase messages, with all that hangs on them, of conversations that were deleted longer than a day ago.

    The newest first: an answer to a message is always newer than the message.
    """
    gone = Conversation.objects.filter(deleted_at__lt=timezone.now() - DELETED_KEPT).order_by("deleted_at")
    messages: list[int] = []
    emptied: list[UUID] = []
    for conversation_id in gone.values_list("pk", flat=True)[:rows]:
        room = rows - len(messages) - len(emptied)
        newest = Message.objects.filter(conversation_id=conversation_id).order_by("-pk")
        messages += newest.values_list("pk", flat=True)[:room]
        if len(messages) + len(emptied) >= rows:
            break
        emptied.append(conversation_id)
    logs = Generation.objects.filter(message__in=messages, has_log=True)
    for generation_id in logs.values_list("pk", flat=True):
        delta_log.prune(generation_id)
    Message.objects.filter(pk__in=messages).delete()
    Conversation.objects.filter(pk__in=emptied).delete()
    return len(messages) + len(emptied)


def forget_sessions(rows: int) -> int:
    """Delete sessions that have ended."""
    ended = Session.objects.filter(expire_date__lt=timezone.now()).values_list("pk", flat=True)[:rows]
    return Session.objects.filter(pk__in=list(ended)).delete()[0]
