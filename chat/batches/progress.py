"""Advance every batch at which there is something to do; at most once at a time in a process."""

from __future__ import annotations

import logging
from uuid import UUID

from channels.db import database_sync_to_async

from chat.batches import feeding, provider
from chat.generation.runner import GenerationRunner
from chat.models.batch import Batch

logger = logging.getLogger(__name__)

# Batches that one round looks at.
AT_ONCE = 20


class BatchProgress:
    """The batches that this process advances."""

    def __init__(self) -> None:
        self._is_running = False

    async def advance(self, runner: GenerationRunner) -> None:
        """Advance what is due. Does nothing if that is happening already."""
        if self._is_running or not runner.is_accepting:
            return
        self._is_running = True
        try:
            for batch in await database_sync_to_async(_due)():
                await _advance(runner, *batch)
        finally:
            self._is_running = False


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
