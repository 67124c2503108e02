"""Advance every batch at which there is something to do; at most once at a time in a process."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async

from chat.batches import feeding, later, provider
from chat.generation.runner import GenerationRunner
from chat.models.batch import Batch

logger = logging.getLogger(__name__)

# What a page shows of a batch that changes.
SHOWN = ("status", "completed", "failed", "provider_status", "provider_counts", "error_message")
# Batches that one round looks at.
AT_ONCE = 20


class BatchProgress:
    """The batches that this process advances."""

    def __init__(self) -> None:
        self._is_running = False
        # What the pages of a user were last told of a batch that is not over.
        self._told: dict[UUID, tuple[Any, ...]] = {}

    async def advance(self, runner: GenerationRunner) -> None:
        """Advance what is due. Does nothing if that is happening already."""
        if self._is_running or not runner.is_accepting:
            return
        self._is_running = True
        try:
            await later.end_stopped(runner, await database_sync_to_async(later.stopped)())
            for batch in await database_sync_to_async(_due)():
                await _advance(runner, *batch)
                await self._tell(runner, *batch[:2])
        finally:
            self._is_running = False

    async def _tell(self, runner: GenerationRunner, batch_id: UUID, user_id: int) -> None:
        """Tell the pages of a user if a batch is further than they know."""
        now = await Batch.objects.filter(pk=batch_id, is_question=False).values_list(*SHOWN).afirst()
        if now is None or now == self._told.get(batch_id):
            return
        runner.notifications.batch_changed(user_id, batch_id)
        self._told[batch_id] = now
        if now[0] in Batch.ENDED:
            del self._told[batch_id]


def _due() -> list[tuple[UUID, int, str]]:
    due = Batch.objects.due().order_by("next_look_at")
    return list(due.values_list("pk", "user_id", "runner")[:AT_ONCE])


async def _advance(runner: GenerationRunner, batch_id: UUID, user_id: int, kind: str) -> None:
    try:
        if kind == Batch.Runner.PROVIDER:
            await provider.advance(runner, batch_id)
        else:
            await feeding.advance(runner.log.writer, batch_id, user_id)
    except Exception:
        # The others must go on; the next round tries again.
        logger.exception("advancing batch %s failed", batch_id)
