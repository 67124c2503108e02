"""Start and stop a generation: store it, schedule its run, notify the user's pages.

Every entry point comes through here. `operation` is a verb of Conversation that asks for an answer; the
writer commits it before anything runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError

from chat.event_log.writer import Writer
from chat.generation.claim import Claimed, claim_as_stored
from chat.generation.runner import GenerationRunner
from chat.models.generation import Generation, StartedGeneration

logger = logging.getLogger(__name__)

# Until they end; the event loop alone would not keep them.
_storing: set[asyncio.Future[Any]] = set()

type AskOperation = Callable[[], StartedGeneration]


async def store[T](writer: Writer, user: AbstractUser, operation: Callable[[], T]) -> T:
    """Commit what `operation` stores, once.

    If another process stores the same client id at the same moment, the database refuses one of the
    two: the second try finds what the first one stored. Raises RequestRefused; nothing is stored then.
    """
    try:
        return await writer.arun(operation, user_id=user.pk)
    except IntegrityError:
        logger.info("the same client id was stored by another process")
        return await writer.arun(operation, user_id=user.pk)


async def start(runner: GenerationRunner, user: AbstractUser, operation: AskOperation) -> StartedGeneration:
    """Store a question and run its answer in this process. Raises RequestRefused."""
    started, _run = await start_here(runner, user, operation)
    if not started.is_repeat:
        _notify(runner, user, started)
        for other in started.others:
            runner.start(other.generation_id)
            _notify(runner, user, other)
    return started


async def start_here(
    runner: GenerationRunner, user: AbstractUser, operation: AskOperation
) -> tuple[StartedGeneration, asyncio.Task[None] | None]:
    """Store a question, claim it in the same transaction, and run it. Raises RequestRefused.

    Also return the task that runs it; None if it is a repeat, or if this process is not running or draining:
    its row then waits for another process. A caller that is cancelled meanwhile changes nothing.
    """
    work = asyncio.ensure_future(_store_and_run(runner, user, operation))
    _storing.add(work)
    work.add_done_callback(_storing.discard)
    return await asyncio.shield(work)


async def _store_and_run(
    runner: GenerationRunner, user: AbstractUser, operation: AskOperation
) -> tuple[StartedGeneration, asyncio.Task[None] | None]:
    if not runner.is_accepting:
        return await store(runner.log.writer, user, operation), None
    started, claimed = await store(runner.log.writer, user, partial(_claimed, operation, runner.process_id))
    return started, None if claimed is None else await runner.run_claimed(claimed)


def _claimed(operation: AskOperation, owner: str) -> tuple[StartedGeneration, Claimed | None]:
    started = operation()
    claimed = claim_as_stored(started, owner)
    if claimed is not None and claimed.hold is not None:
        started = replace(started, warning=claimed.hold.warning)
    return started, claimed


def _notify(runner: GenerationRunner, user: AbstractUser, started: StartedGeneration) -> None:
    if started.is_hidden:
        return
    for what in ("created", "started") if started.is_new_conversation else ("started",):
        runner.notifications.changed(user.pk, started.conversation_id, what, generation=started.generation_id)


async def stop(runner: GenerationRunner, user: AbstractUser, generation_id: int) -> bool:
    """Stop a user's own generation, in whichever process it runs. Return False if it is not active."""
    was_active = await runner.log.writer.arun(partial(Generation.request_stop, user, generation_id))
    if was_active:
        await stop_requested(runner, user, [generation_id])
    return was_active


async def stop_requested(runner: GenerationRunner, user: AbstractUser, generation_ids: list[int]) -> None:
    """End generations whose rows say that a stop was requested: here now, elsewhere at once if possible.

    Without notices, another process reads the request from its row at its next tick.
    """
    for generation_id in generation_ids:
        runner.stop(generation_id)
        runner.notifications.stop_requested(user.pk, generation_id)


# For sync views. Within a server they run on its event loop.
start_sync = async_to_sync(start)
stop_sync = async_to_sync(stop)
stop_requested_sync = async_to_sync(stop_requested)
