"""Run Django tasks on the event loop of this process. `celery.py` sends them to a worker instead.

A task only says that there is work; work that must not be lost has a row, which the heartbeat of a server
finds. So a backend may drop a task, and never keeps results.
"""

from __future__ import annotations

import asyncio
import logging
from enum import IntEnum
from inspect import iscoroutinefunction
from typing import Any

from channels.db import database_sync_to_async
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskContext, TaskResult, TaskResultStatus
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.module_loading import import_string

from chat.runtime.process import Runtime, current_runtime

logger = logging.getLogger(__name__)


class TaskPriority(IntEnum):
    """Priorities as Django's task framework counts them: the highest first."""

    INTERACTIVE = 50
    API = 0
    BULK = -50


def run_and_wait(path: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Run the task at `path` on the runtime's loop; called from another thread, which waits for its end."""
    runtime = current_runtime()
    if runtime.loop is None:
        logger.warning("%s was not started: closing", path)
        return
    task: Task[..., Any] = import_string(path)
    result = ready_result(task, args, kwargs)
    asyncio.run_coroutine_threadsafe(_run_to_end(runtime, result), runtime.loop).result()


async def _run_to_end(runtime: Runtime, result: TaskResult[..., Any]) -> None:
    task = _start(runtime, result)
    if task is not None:
        await asyncio.wait({task})


class AsyncioBackend(BaseTaskBackend):
    """Runs tasks on the server's own event loop: coroutines there, functions in threads.

    All of them start at once, whatever their priority: what is scarce, the slots of endpoints, is granted
    by priority where it is requested. In a process without a runtime, a command for example, nothing is
    started: the result stays READY, and a server finds the row.
    """

    supports_async_task = True
    supports_priority = True

    def enqueue[**P, R](self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
        """Start `task` on the runtime's loop; may be called from any thread."""
        self.validate_task(task)
        result = ready_result(task, args, kwargs)
        runtime = current_runtime()
        if runtime.loop is None:
            logger.debug("%s is left to a server", name_of(result))
        elif _running_loop() is runtime.loop:
            _start(runtime, result)
        else:
            runtime.loop.call_soon_threadsafe(_start, runtime, result)
        return result

    async def aenqueue[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        return self.enqueue(task, args, kwargs)


def ready_result[**P, R](task: Task[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
    """Return the result of a task that has not started."""
    return TaskResult(
        task=task,
        id=get_random_string(32),
        status=TaskResultStatus.READY,
        enqueued_at=timezone.now(),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        worker_ids=[],
    )


def _start(runtime: Runtime, result: TaskResult[..., Any]) -> asyncio.Task[None] | None:
    return runtime.tasks.start(_run(result), name_of(result))


async def _run(result: TaskResult[..., Any]) -> None:
    task, args = result.task, list(result.args)
    if task.takes_context:
        args.insert(0, TaskContext(task_result=result))
    if iscoroutinefunction(task.func):
        await task.func(*args, **result.kwargs)
    else:
        # A thread of its own: the thread that all websockets share is kept for short queries.
        await database_sync_to_async(task.func, thread_sensitive=False)(*args, **result.kwargs)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def name_of(result: TaskResult[..., Any]) -> str:
    """Return the name of a task: its function and ids."""
    ids = [str(value) for value in (*result.args, *result.kwargs.values())]
    return f"{result.task.name}({', '.join(ids)})"
