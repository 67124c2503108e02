"""Following a generation for a program: its events, a pulse where nothing happens, an end with the key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from django.utils.translation import gettext as _

from chat.api.errors import ApiError
from chat.event_log.lease import LogRow
from chat.generation.start import stop
from chat.models import ApiKey
from chat.runtime.connections import OpenStream
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

# Proxies take a line for dead that says nothing for a minute.
PULSE_S = 10.0


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
        self._runtime = current_runtime()
        self._log = self._runtime.log.follow(generation_id, after=after, is_about_to_start=is_about_to_begin)
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._open = OpenStream(key.pk, self._close)
        self._runtime.connections.streams.add(self._open)

    def _close(self, code: str) -> None:
        if not self._closed.done():
            self._closed.set_result(code)

    async def rows(self) -> AsyncIterator[list[LogRow]]:
        """Yield what happens, and an empty list at each pulse.

        Raises ApiError if the key ends, or this process.
        """
        coming: asyncio.Task[list[LogRow] | None] | None = None
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

    async def _next(self) -> list[LogRow] | None:
        return await anext(self._log, None)

    def stop_at_end(self) -> None:
        """Stop the generation when its reader leaves, which can do nothing with what it says from now on."""
        self._stop_when_left = True

    def left(self) -> None:
        """Note, once, that nobody reads any more; on the loop."""
        if self._has_left:
            return
        self._has_left = True
        self._runtime.connections.streams.discard(self._open)
        if self._stop_when_left and not self.is_over:
            self._runtime.background.start(
                stop(self._runtime.runner, self._key.user, self.generation_id), f"stop {self.generation_id}"
            )

    def close(self) -> None:
        """`left`, from any thread: Django calls this when a response is over, also one that never began."""
        with suppress(RuntimeError):  # the loop is gone, and with it all readers
            self._loop.call_soon_threadsafe(self.left)


def _ended(code: str) -> ApiError:
    if code == "restarting":
        return ApiError(code, _("This server is restarting. Ask again."))
    return ApiError(code, _("This API key is not in force any more."))
