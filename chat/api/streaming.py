"""Following a generation for one connection, and the server-sent events that are made of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Protocol

from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _

from chat import events
from chat.api import serializers
from chat.api.errors import ApiError, internal_error
from chat.event_log.lease import LogRow
from chat.generation.start import stop
from chat.models import ApiKey, Generation
from chat.runtime.connections import OpenStream
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

# Sent when there is nothing else to send: proxies close connections that are silent for a minute.
KEEP_ALIVE_S = 10.0
KEEP_ALIVE = b": waiting\n\n"


class Follower:
    """Reads the log of one generation for one connection.

    Call `release` when the client has left. `stop_on_release`: that stops the generation as well.
    """

    def __init__(
        self,
        key: ApiKey,
        generation_id: int,
        *,
        after: int = 0,
        is_about_to_start: bool = False,
        stop_on_release: bool = False,
    ) -> None:
        self.generation_id = generation_id
        self.wire_id = Generation(pk=generation_id).wire_id
        self.stop_on_release = stop_on_release
        self._key = key
        self._is_over = False
        self._is_released = False
        self._loop = asyncio.get_running_loop()
        self._runtime = current_runtime()
        self._log = self._runtime.log.follow(generation_id, after=after, is_about_to_start=is_about_to_start)
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._open_stream = OpenStream(key.pk, self._close)
        self._runtime.connections.streams.add(self._open_stream)

    def _close(self, code: str) -> None:
        if not self._closed.done():
            self._closed.set_result(code)

    async def rows(self) -> AsyncIterator[list[LogRow]]:
        """Yield new rows of the log, and an empty list after KEEP_ALIVE_S without any.

        Raises ApiError when the API key becomes invalid or the server shuts down.
        """
        read: asyncio.Task[list[LogRow] | None] | None = None
        try:
            while True:
                if read is None:
                    read = asyncio.create_task(self._next(), name=f"follow {self.generation_id}")
                either: set[asyncio.Future[Any]] = {read, self._closed}
                await asyncio.wait(either, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
                if read.done():
                    rows, read = read.result(), None
                    if rows is None:
                        return
                    self._is_over = rows[-1].is_terminal
                    yield rows
                elif self._closed.done():
                    raise _closed(self._closed.result())
                else:
                    yield []
        finally:
            if read is not None:
                read.cancel()
                with suppress(asyncio.CancelledError):
                    await read

    async def until_end(self) -> None:
        """Wait for the end, and release. Raises ApiError if the answer is not complete, and as `rows`."""
        error: ApiError | None = None
        async for rows in self.rows():
            if rows and rows[-1].is_terminal:
                error = serializers.error_of(events.decode(rows[-1].payload), self.generation_id)
        self.release()
        if error is not None:
            raise error

    async def _next(self) -> list[LogRow] | None:
        return await anext(self._log, None)

    def release(self) -> None:
        """End following, once; called on the event loop."""
        if self._is_released:
            return
        self._is_released = True
        self._runtime.connections.streams.discard(self._open_stream)
        if self.stop_on_release and not self._is_over:
            work = stop(self._runtime.runner, self._key.user, self.generation_id)
            self._runtime.background.start(work, f"stop {self.generation_id}")

    def close(self) -> None:
        """Call `release` from any thread. Django calls this after a response, even one that never started."""
        with suppress(RuntimeError):  # the loop is closed, and its connections with it
            self._loop.call_soon_threadsafe(self.release)


def _closed(code: str) -> ApiError:
    if code == "restarting":
        return ApiError(code, _("This server is restarting. Send the request again."))
    return ApiError(code, _("This API key is no longer valid."))


class EventFormat(Protocol):
    """How the rows of a log become server-sent events: OpenAI's chunks, or Chatsite's own events."""

    async def encode(self, row: LogRow) -> bytes:
        """Return the events of a row, possibly none. Raises ApiError if the row ends the stream."""

    def encode_error(self, error: ApiError) -> bytes:
        """Return the last event of a stream that fails."""


class EventStream:
    """The body of a `text/event-stream` response. Errors end it with an error event; none is raised."""

    def __init__(self, follower: Follower, event_format: EventFormat, *, opening: bytes = b"") -> None:
        """`opening`: events that are sent before any row."""
        self._follower = follower
        self._format = event_format
        self._rows = follower.rows()
        self._first = opening
        self.close = follower.close

    async def start(self, timeout_s: float) -> None:
        """Wait for the first event, at most `timeout_s`. Raises ApiError if the generation fails first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        async for rows in self._rows:
            self._first = await self._encode(rows)
            if self._first or loop.time() > deadline:
                return

    async def _encode(self, rows: list[LogRow]) -> bytes:
        return b"".join([await self._format.encode(row) for row in rows])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield self._first or KEEP_ALIVE
            async for rows in self._rows:
                data = await self._encode(rows)
                if data or not rows:
                    yield data or KEEP_ALIVE
        except ApiError as error:
            yield self._format.encode_error(error)
        except Exception:
            logger.exception("an event stream of the API failed")
            yield self._format.encode_error(internal_error(self._follower.wire_id))
        finally:
            self._follower.release()

    def as_response(self) -> StreamingHttpResponse:
        response = StreamingHttpResponse(self, content_type="text/event-stream; charset=utf-8")
        response["X-Accel-Buffering"] = "no"
        return response
