"""Every Django task of the program, a few lines each.

Work that must not be lost has a row; a task only says that there is some. If a task is lost with its
process, the heartbeat of this or another process finds the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from channels.db import database_sync_to_async
from django.contrib.auth.models import AbstractUser
from django.tasks import task

from chat.attachments.imported import keep_imported
from chat.batches import local
from chat.batches.progress import BatchProgress
from chat.models.api_request import ApiRequest
from chat.models.catalog import Model
from chat.runtime.process import current_runtime
from chat.runtime.task_backends.local import TaskPriority
from chat.transfer.importing.run import run_import, tidy
from chat.usage import hourly, rollup
from chat.webhooks import delivery


@task(priority=TaskPriority.BULK)
async def pick_up_bulk() -> None:
    """Start bulk that waits now, instead of at the next tick."""
    current_runtime().heartbeat.wake()


@task(priority=TaskPriority.BULK)
async def clean_up() -> None:
    """Prune old logs, erase deleted conversations, delete expired sessions, add up hours."""
    runtime = current_runtime()
    await runtime.cleanup.run(runtime.writer)
    await database_sync_to_async(rollup.catch_up)()
    await database_sync_to_async(hourly.catch_up)()
    await run_imports.aenqueue()


@task(priority=TaskPriority.BULK, backend="here")
async def run_imports() -> None:
    """Run the imports whose files are here, and the undoing of imports, one by one, until none is left."""
    runtime = current_runtime()
    keep_file = partial(keep_imported, runtime.writer)
    has_run = True
    while has_run:
        has_run = False
        for pk in await tidy(runtime.writer):
            has_run |= await run_import(
                runtime.writer, pk, keep_file=keep_file, is_busy=lambda: bool(runtime.runner.running())
            )


@task(priority=TaskPriority.API)
async def deliver_webhooks() -> None:
    """Send the webhooks that are due."""
    await delivery.deliver_due(current_runtime().writer)


@task(priority=TaskPriority.BULK)
async def advance_batches() -> None:
    """Feed, poll and collect the batches that are due."""
    await _progress.advance(current_runtime().runner)


async def start_bulk(
    user: AbstractUser, model: Model, requests: Sequence[ApiRequest], *, batch_id: str
) -> list[int]:
    """Store bulk generations and have them picked up; return their ids. See `batches.local.store`."""
    ids = await local.store(current_runtime().writer, user, model, requests, batch_id=batch_id)
    await pick_up_bulk.aenqueue()
    return ids


# A process has one runtime, and this holds nothing but whether it is at work.
_progress = BatchProgress()


class Scheduled:
    """The tasks that the heartbeat enqueues; see `runtime.heartbeat.ScheduledTasks`."""

    async def enqueue_cleanup(self) -> None:
        await clean_up.aenqueue()

    async def enqueue_webhooks(self) -> None:
        await deliver_webhooks.aenqueue()

    async def enqueue_batches(self) -> None:
        await advance_batches.aenqueue()


SCHEDULED = Scheduled()
