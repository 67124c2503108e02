"""/v1/generations/…: what became of a request, its events, and its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from channels.db import database_sync_to_async
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from chat import events
from chat.api import schemas as wire
from chat.api import serializers
from chat.api.auth import key_of
from chat.api.errors import ApiError, json_response
from chat.api.streaming import Following
from chat.event_log.lease import LogRow
from chat.generation.start import stop
from chat.models import ApiKey, Generation
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

PULSE = b": waiting\n\n"
SEQ_MAX = 2**31 - 1


async def _find(request: HttpRequest, wire_id: str) -> tuple[ApiKey, Generation]:
    key = await key_of(request, ApiKey.Scope.CHAT)
    return key, await database_sync_to_async(serializers.find)(key, Generation.id_from(wire_id))


async def show(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Say what a generation is now."""
    _key, generation = await _find(request, wire_id)
    return json_response(await database_sync_to_async(serializers.as_wire)(generation))


async def cancel(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Ask for the end of a generation; harmless if it has one."""
    key, generation = await _find(request, wire_id)
    await stop(current_runtime().runner, key.user, generation.pk)
    return await show(request, wire_id)


async def events_of(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Tell its events from the beginning, or after `Last-Event-ID`, until the last one."""
    after = _seq(request.headers.get("Last-Event-ID", ""))
    key, generation = await _find(request, wire_id)
    stream = _Events(Following(key, generation.pk, after=after))
    response = StreamingHttpResponse(stream, content_type="text/event-stream; charset=utf-8")
    response["X-Accel-Buffering"] = "no"
    return response


def _seq(value: str) -> int:
    text = value.strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= SEQ_MAX):
        raise ApiError(
            "invalid_value",
            _("Last-Event-ID is the id of the last event that was read: a whole number."),
            param="Last-Event-ID",
        )
    return int(text)


class _Events:
    """The bytes of one stream of events. It never raises: it ends with an `error` event."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self.close = following.close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield PULSE
            async for rows in self._following.rows():
                yield b"".join(map(_event, rows)) or PULSE
        except ApiError as error:
            yield _error(error)
        except Exception:
            logger.exception("a stream of events failed")
            yield _error(ApiError("internal", _("Something went wrong in this program. Try again.")))
        finally:
            self._following.left()


def _event(row: LogRow) -> bytes:
    kind = events.decode(row.payload).__struct_config__.tag
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (row.seq, str(kind).encode(), row.payload)


def _error(error: ApiError) -> bytes:
    return b"event: error\ndata: " + wire.encode(wire.ErrorReply(error.as_wire())) + b"\n\n"
