"""Where the tasks of django.tasks run: on the event loop of this process, or in a worker (see `.celery`).

A task only says that there is work; work that must not be lost has a row, which a server's heartbeat
finds. So a backend may drop a task, and never keeps results.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from enum import IntEnum
from inspect import iscoroutinefunction
from typing import Any

from channels.db import database_sync_to_async
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskContext, TaskResult, TaskResultStatus
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)


class TaskPriority(IntEnum):
    """The priorities of tasks, as django.tasks counts them: of those that wait, a higher one goes first."""

    INTERACTIVE = 50
    API = 0
    BULK = -50


# More tasks than this at a time are not started; their rows wait for the heartbeat.
MAX_TASKS = 10_000
# A cancelled task that takes longer to end is left behind.
CANCEL_S = 2.0


class Home:
    """The event loop that tasks run on, and the tasks that run on it now."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, result: TaskResult[..., Any]) -> asyncio.Task[None] | None:
        """Start a task; called on the loop. None if it was not started."""
        if self is not _home or len(self.tasks) >= MAX_TASKS:
            logger.warning("%s was not started: %s", _name_of(result), "full" if self is _home else "closing")
            return None
        # A context of its own: that of a request ends with the request, and so do its threads.
        task = self.loop.create_task(_run(result), name=_name_of(result), context=contextvars.Context())
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def run(self, result: TaskResult[..., Any]) -> None:
        """Start a task and wait for its end; what it raises is logged."""
        task = self.start(result)
        if task is not None:
            await asyncio.wait({task})

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s failed: %s", task.get_name(), _where(error))


_home: Home | None = None


def open_home(loop: asyncio.AbstractEventLoop) -> None:
    """From now on run this process's tasks on `loop`."""
    global _home
    _home = Home(loop)


async def close_home(timeout_s: float = 1.0) -> None:
    """Start no more tasks, give those that run `timeout_s`, and cancel the rest."""
    global _home
    home, _home = _home, None
    if home is None or not home.tasks:
        return
    _done, late = await asyncio.wait(home.tasks, timeout=timeout_s)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=CANCEL_S)


def run_and_wait(path: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Run the task at `path` on the home loop; called from another thread, which waits for its end."""
    home = _home
    if home is None:
        logger.warning("%s was not started: closing", path)
        return
    task: Task[..., Any] = import_string(path)
    result = ready(task, args, kwargs)
    asyncio.run_coroutine_threadsafe(home.run(result), home.loop).result()


class AsyncioBackend(BaseTaskBackend):
    """Run tasks on the server's own event loop: coroutines there, functions in threads.

    All of them start at once, whatever their priority: what is scarce, the endpoints' slots, is given out
    by priority where it is asked for. In a process without a server, a command for example, nothing is
    started: the result stays READY, and a server takes the row up.
    """

    supports_async_task = True
    supports_priority = True

    def enqueue[**P, R](self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
        """Start `task` on the home loop; may be called from any thread."""
        self.validate_task(task)
        result = ready(task, args, kwargs)
        home = _home
        if home is None:
            logger.debug("%s is left to a server", _name_of(result))
        elif _running_loop() is home.loop:
            home.start(result)
        else:
            home.loop.call_soon_threadsafe(home.start, result)
        return result

    async def aenqueue[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        return self.enqueue(task, args, kwargs)


def ready[**P, R](task: Task[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
    """Return the result of a task that has not begun."""
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


async def _run(result: TaskResult[..., Any]) -> None:
    task, args = result.task, list(result.args)
    if task.takes_context:
        args.insert(0, TaskContext(task_result=result))
    if iscoroutinefunction(task.func):
        await task.func(*args, **result.kwargs)
    else:
        # A thread of its own: the one that all sockets share is kept for short queries.
        await database_sync_to_async(task.func, thread_sensitive=False)(*args, **result.kwargs)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _name_of(result: TaskResult[..., Any]) -> str:
    """Name a task by its function and ids."""
    ids = [str(value) for value in (*result.args, *result.kwargs.values())]
    return f"{result.task.name}({', '.join(ids)})"


def _where(error: BaseException) -> str:
    """Say what an error is and where it happened, without its message: that may quote what people wrote."""
    return f"{type(error).__qualname__}\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
