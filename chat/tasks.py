"""What runs in the background, a few lines each, and the verbs by which every door starts and stops it.

Work that must not be lost has a row; a task only says that there is some. Should a task be lost with
its process, the heartbeat of this or another one finds the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser
from django.tasks import task

from chat import notifications
from chat.batches import local as batches
from chat.event_log import log as delta_log
from chat.generation import runner as generations
from chat.models.catalog import Model
from chat.models.generation import ApiRequest, Generation, StartedGeneration
from chat.models.process import PROCESS_ID
from chat.runtime import heartbeat
from chat.runtime.task_backends.local import TaskPriority


@task(backend="here")
async def run_generation(generation_id: str) -> None:
    """Run one answer to its end."""
    await generations.run(int(generation_id))


@task(backend="here")
async def stop_generation(generation_id: str) -> None:
    """Stop an answer that runs in this process; others read the request from its row within a second."""
    generations.stop_here(int(generation_id))


@task(priority=TaskPriority.BULK)
async def take_up_bulk() -> None:
    """Look for bulk that waits now, and not at the next tick."""
    heartbeat.look()


async def abegin_bulk(
    user: AbstractUser, model: Model, requests: Sequence[ApiRequest], *, batch_id: str
) -> list[int]:
    """Store bulk generations and have them begun; return their ids. See `batches.astore`."""
    ids = await batches.astore(user, model, requests, batch_id=batch_id)
    await take_up_bulk.aenqueue()
    return ids


async def abegin(user: AbstractUser, verb: Callable[[], StartedGeneration]) -> StartedGeneration:
    """Run `verb` (a Conversation verb that asks for an answer) in one transaction, then start its answer.

    Whatever `verb` refuses is raised as RequestRefused and leaves nothing behind.
    """
    accepted = await delta_log.awrite(verb)
    if not accepted.is_repeat:
        await run_generation.aenqueue(str(accepted.generation_id))
        if accepted.is_listed:
            await notifications.achanged(
                user.pk, accepted.conversation_id, "started", generation_id=accepted.generation_id
            )
    return accepted


begin = async_to_sync(abegin)


async def abegin_here(verb: Callable[[], StartedGeneration]) -> tuple[StartedGeneration, asyncio.Task[None]]:
    """`abegin` for a command: its answer is this process's from the first moment, and runs in it.

    No server takes it up while this process's heart beats; when it stops, one does. Returns the task that
    runs it, too, to be held until the end.
    """
    accepted = await delta_log.awrite(partial(_as_ours, verb))
    run = generations.run(accepted.generation_id, from_owner=PROCESS_ID)
    return accepted, asyncio.create_task(run, name=f"generation {accepted.generation_id}")


def _as_ours(verb: Callable[[], StartedGeneration]) -> StartedGeneration:
    accepted = verb()
    Generation.objects.active().filter(pk=accepted.generation_id, owner="").update(owner=PROCESS_ID)
    return accepted


async def astop(user: AbstractUser, generation_id: int) -> bool:
    """End a person's own generation, wherever it runs; False if there was nothing to end."""
    was_running = await delta_log.awrite(lambda: Generation.request_stop(user, generation_id))
    if was_running:
        await stop_generation.aenqueue(str(generation_id))
    return was_running


stop = async_to_sync(astop)
