"""Run Django tasks in Celery workers, over Redis. Imported only where `REDIS_URL` is set.

The broker only speeds things up: a message that is lost, late or delivered twice does no harm, because
work that must not be lost has a row.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from channels.db import database_sync_to_async
from django.conf import settings
from django.tasks.base import Task, TaskResult
from kombu.exceptions import OperationalError

from chat.models.process import Process
from chat.runtime.task_backends.local import AsyncioBackend, ready_result, run_and_wait

logger = logging.getLogger(__name__)

# One Redis list for each; 0 is read first.
BROKER_PRIORITIES = list(range(10))
# Of Django's task framework: -100 to 100, the highest first.
PRIORITY_MAX = 100
# A caller that enqueues a task waits no longer than this for Redis.
TIMEOUT_S = 1.0
# Tasks that a worker runs at a time. Answers are not among them: those run on its event loop.
CONCURRENCY = 32

app = Celery(
    "chatsite",
    broker=settings.REDIS_URL.replace("unix://", "redis+socket://"),
    set_as_current=False,
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "priority_steps": BROKER_PRIORITIES,
        "queue_order_strategy": "priority",
        "global_keyprefix": "chatsite:",
        "socket_connect_timeout": TIMEOUT_S,
    },
    task_acks_late=True,
    task_default_queue="tasks",
    task_ignore_result=True,
    worker_concurrency=CONCURRENCY,
    worker_hijack_root_logger=False,
    worker_pool="threads",
    # A prefetched message has left its priority list.
    worker_prefetch_multiplier=1,
)


@app.task(name="chat.run")  # type: ignore[untyped-decorator]
def run(path: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Run the Django task at `path`, in a worker."""
    run_and_wait(path, args, kwargs)


def broker_priority(priority: int) -> int:
    """Convert the priority of a Django task to that of a Celery message."""
    return round((PRIORITY_MAX - priority) * BROKER_PRIORITIES[-1] / (2 * PRIORITY_MAX))


class CeleryBackend(AsyncioBackend):
    """Sends tasks to a worker, the most urgent first; runs them here while no worker lives or Redis is away.

    `enqueue` reads the database, so call it on a thread; on an event loop call `aenqueue`.
    """

    def enqueue[**P, R](self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]) -> TaskResult[P, R]:
        self.validate_task(task)
        if _send(task, args, kwargs):
            return ready_result(task, args, kwargs)
        return super().enqueue(task, args, kwargs)

    async def aenqueue[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        self.validate_task(task)
        if await database_sync_to_async(_send, thread_sensitive=False)(task, args, kwargs):
            return ready_result(task, args, kwargs)
        return super().enqueue(task, args, kwargs)


def _send(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Send a task to the workers. Return False if there are none, or no Redis."""
    if not Process.objects.filter(kind=Process.Kind.WORKER).exists():
        return False
    try:
        run.apply_async(
            (task.module_path, args, kwargs), priority=broker_priority(task.priority), retry=False
        )
    except OperationalError as exc:
        logger.warning("Redis does not answer (%s): %s runs here", type(exc).__name__, task.name)
        return False
    return True
