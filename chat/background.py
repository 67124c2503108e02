"""Background tasks: named, owned by a task set, and logged when they fail."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)

# A cancelled task that takes longer than this to end is abandoned.
CANCEL_S = 2.0


class BackgroundTasks:
    """A set of asyncio tasks on one event loop. It holds each task until it ends and logs its exception."""

    def __init__(self, *, max_tasks: int | None = None) -> None:
        """Create an empty set. `max_tasks`: further tasks are not started; None: no limit."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._max_tasks = max_tasks
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start[T](self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T] | None:
        """Run `work` as a task, on the running loop. Return None if the set is full or closed."""
        if self._is_closed or (self._max_tasks is not None and len(self._tasks) >= self._max_tasks):
            logger.warning("%s was not started: %s", name, "closing" if self._is_closed else "too many tasks")
            work.close()
            return None
        # An empty context: a request's context ends with the request, and so do its database threads.
        task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self) -> None:
        """Wait until every task that runs now has ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self, timeout_s: float = 0.0) -> None:
        """Start no more tasks, give the running ones `timeout_s` seconds, then cancel them."""
        self._is_closed = True
        if self._tasks and timeout_s > 0:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        late = set(self._tasks) - {asyncio.current_task()}
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed: %s", task.get_name(), describe(error))


def describe(error: BaseException) -> str:
    """Return the type of an error and its stack, without its message: that may quote a user's text."""
    return f"{type(error).__qualname__}\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
