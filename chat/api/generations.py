"""/v1/generations/…: the state of a generation, its events, and cancelling it."""

from __future__ import annotations

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from chat import events
from chat.api import answer_images, serializers
from chat.api import schemas as wire
from chat.api.auth import authenticate
from chat.api.errors import ApiError, json_response
from chat.api.streaming import EventStream, Follower
from chat.event_log.lease import LogRow
from chat.generation.start import stop
from chat.models import ApiKey, Generation
from chat.runtime.process import current_runtime

SEQ_MAX = 2**31 - 1


async def _find(request: HttpRequest, wire_id: str) -> tuple[ApiKey, Generation]:
    key = await authenticate(request, ApiKey.Scope.CHAT)
    return key, await database_sync_to_async(serializers.find_readable)(key, Generation.id_from(wire_id))


async def show(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Return the current state of a generation."""
    _key, generation = await _find(request, wire_id)
    return json_response(serializers.as_wire(generation, await answer_images.load_all(generation)))


async def cancel(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Request that a generation stops. Has no effect on one that is final."""
    key, generation = await _find(request, wire_id)
    await stop(current_runtime().runner, key.user, generation.pk)
    return await show(request, wire_id)


async def events_of(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Stream a generation's events from the first, or after `Last-Event-ID`, to the last."""
    after = _seq(request.headers.get("Last-Event-ID", ""))
    key, generation = await _find(request, wire_id)
    return EventStream(Follower(key, generation.pk, after=after), _NativeFormat()).as_response()


def _seq(value: str) -> int:
    text = value.strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= SEQ_MAX):
        raise ApiError(
            "invalid_value",
            _("Last-Event-ID must be a whole number: the id of the last event received."),
            param="Last-Event-ID",
        )
    return int(text)


class _NativeFormat:
    """Formats events as they are in the log; `id` is the seq."""

    async def encode(self, row: LogRow) -> bytes:
        kind = str(events.decode(row.payload).__struct_config__.tag)
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (row.seq, kind.encode(), row.payload)

    def encode_error(self, error: ApiError) -> bytes:
        return b"event: error\ndata: " + wire.encode(wire.ErrorReply(error.as_wire())) + b"\n\n"
