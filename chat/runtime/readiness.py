"""Whether this process can serve, for load balancers: the database, the writer, the heartbeat, Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.db import connection

from chat.event_log.writer import Writer
from chat.notifications import Notifications
from chat.runtime.database_thread import DatabaseReader
from chat.runtime.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

OK = "ok"
# A check that takes longer has failed.
CHECK_TIMEOUT_S = 2.0


class PingsRedis(Protocol):
    """Something that can ask Redis whether it answers."""

    async def ping(self) -> str | None:
        """Return what is wrong with Redis, or None."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this process can serve, and the result of each check: `ok` or a sentence.

    `status`: the status in its row, as of the last tick; empty before the first.
    """

    is_ready: bool
    checks: dict[str, str]
    status: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ReadinessCheck:
    """The checks of one process, which logs each change of the result. `redis`: None where it is not used."""

    writer: Writer
    heartbeat: Heartbeat
    notifications: Notifications
    read: DatabaseReader
    redis: PingsRedis | None = None
    # What failed at the last run, as text.
    _failures: str = field(default="", init=False)

    async def __call__(self) -> Readiness:
        """Run all checks. Answers are given without Redis, too: its failure makes nothing unready."""
        checks = {
            "database": await _within(self._database, "does not answer"),
            "writer": self.writer.problem() or OK,
            "heartbeat": self.heartbeat.problem() or OK,
        }
        failures = ", ".join(f"{name} {result}" for name, result in checks.items() if result != OK)
        self._log_change(failures)
        if self.redis is not None:
            checks["redis"] = await _within(self._redis, "degraded: does not answer")
        return Readiness(not failures, checks, self.heartbeat.status)

    def _log_change(self, failures: str) -> None:
        if failures and not self._failures:
            logger.warning("Not ready: %s", failures)
        elif self._failures and not failures:
            logger.info("Ready again.")
        self._failures = failures

    async def _database(self) -> str:
        await self.read(_select_one)
        return OK

    async def _redis(self) -> str:
        assert self.redis is not None
        return await self.redis.ping() or self.notifications.problem or OK


async def _within(check: Callable[[], Awaitable[str]], failure: str) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except Exception as exc:  # noqa: BLE001 - any failure means the same here
        return f"{failure} ({type(exc).__name__})"


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
