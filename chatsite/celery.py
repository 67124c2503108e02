"""The worker: `celery -A chatsite worker`. It needs `REDIS_URL`; see docs/queue.md."""

import logging
import os

import django
from celery import concurrency, signals
from django.conf import settings
from django.core.checks import run_checks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
django.setup()
if not settings.REDIS_URL:
    raise SystemExit("A worker needs Redis: set REDIS_URL to the same value as for the servers.")

from django.db import DatabaseError  # noqa: E402 - the settings come first

from chat.runtime.task_backends.celery import app  # noqa: E402
from chat.runtime.worker import Worker  # noqa: E402
from chat.tasks import SCHEDULED  # noqa: E402
from chatsite import checks  # noqa: E402

__all__ = ["app"]

logger = logging.getLogger(__name__)

_worker = Worker(SCHEDULED)


@signals.worker_init.connect
def start(sender, **_):  # type: ignore[no-untyped-def] # Celery has no types
    """Refuse other pools; start what runs beside the consumer of the broker."""
    if concurrency.get_implementation(sender.pool_cls) is not concurrency.get_implementation("threads"):
        raise SystemExit("A worker is one process with threads: omit --pool, or use --pool threads.")
    for warning in run_checks(tags=[checks.TAG]):
        logger.warning(warning.msg)
    try:
        _worker.start()
    except DatabaseError as error:
        text = str(error).strip()
        raise SystemExit(f"The database cannot be used: {text}. Has manage.py migrate been run?") from error


@signals.worker_shutting_down.connect
def drain(**_):  # type: ignore[no-untyped-def]
    _worker.drain()


@signals.worker_shutdown.connect
def stop(**_):  # type: ignore[no-untyped-def]
    _worker.stop()
