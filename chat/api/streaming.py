"""Following a generation for a program: its events, a pulse where nothing happens, an end with the key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from django.utils.translation import gettext as _

from chat import tasks
from chat.api.errors import ApiError
from chat.event_log import log as delta_log
from chat.models import ApiKey
from chat.runtime import heartbeat

logger = logging.getLogger(__name__)

# Proxies take a line for dead that says nothing for a minute.
PULSE_S = 10.0
# A connection's lost client is told to nobody else: these stops are kept until they are done.
_stopping: set[asyncio.Task[bool]] = set()


class Following:
    """The events of one generation, for one connection.

    `left` says that nobody reads any more. What is to `stop_when_left` ends with its reader.
    """

    def __init__(
        self,
        key: ApiKey,
        generation_id: int,
        *,
        after: int = 0,
        is_about_to_begin: bool = False,
        stop_when_left: bool = False,
    ) -> None:
        self.generation_id = generation_id
        self.is_over = False
        self._key = key
        self._stop_when_left = stop_when_left
        self._has_left = False
        self._loop = asyncio.get_running_loop()
        self._log = delta_log.follow(generation_id, after=after, is_about_to_begin=is_about_to_begin)
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._open = heartbeat.OpenStream(key.pk, self._close)
        heartbeat.open_streams.add(self._open)

    def _close(self, code: str) -> None:
        if not self._closed.done():
            self._closed.set_result(code)

    async def rows(self) -> AsyncIterator[list[delta_log.Row]]:
        """Yield what happens, and an empty list at each pulse.

        Raises ApiError if the key ends, or this process.
        """
        coming: asyncio.Task[list[delta_log.Row] | None] | None = None
        try:
            while True:
                if coming is None:
                    coming = asyncio.create_task(self._next(), name=f"follow {self.generation_id}")
                both: set[asyncio.Future[Any]] = {coming, self._closed}
                await asyncio.wait(both, timeout=PULSE_S, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    rows, coming = coming.result(), None
                    if rows is None:
                        return
                    self.is_over = rows[-1].is_terminal
                    yield rows
                elif self._closed.done():
                    raise _ended(self._closed.result())
                else:
                    yield []
        finally:
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError):
                    await coming

    async def _next(self) -> list[delta_log.Row] | None:
        return await anext(self._log, None)

    def stop_at_end(self) -> None:
        """Stop the generation when its reader leaves, which can do nothing with what it says from now on."""
        self._stop_when_left = True

    def left(self) -> None:
        """Note, once, that nobody reads any more; on the loop."""
        if self._has_left:
            return
        self._has_left = True
        heartbeat.open_streams.discard(self._open)
        if self._stop_when_left and not self.is_over:
            stop = self._loop.create_task(
                tasks.astop(self._key.user, self.generation_id), name=f"stop {self.generation_id}"
            )
            _stopping.add(stop)
            stop.add_done_callback(_stopped)

    def close(self) -> None:
        """`left`, from any thread: Django calls this when a response is over, also one that never began."""
        with suppress(RuntimeError):  # the loop is gone, and with it all readers
            self._loop.call_soon_threadsafe(self.left)


def _stopped(stop: asyncio.Task[bool]) -> None:
    _stopping.discard(stop)
    if not stop.cancelled() and (error := stop.exception()):
        logger.error("%s failed", stop.get_name(), exc_info=error)


def _ended(code: str) -> ApiError:
    if code == "restarting":
        return ApiError(code, _("This server is restarting. Ask again."))
    return ApiError(code, _("This API key is not in force any more."))
