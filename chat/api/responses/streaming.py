"""The events of a response for one client: those behind the last one that it has."""

from __future__ import annotations

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from chat import events
from chat.api import answer_images
from chat.api.errors import ApiError
from chat.api.responses import chains, objects
from chat.api.responses import schemas as wire
from chat.api.responses.chains import StoredResponse
from chat.api.responses.events import RESTARTED, ResponseEvent, ResponseEvents
from chat.event_log.lease import LogRow
from chat.event_log.read import last_restart
from chat.models import ApiKey, Generation

DONE = b"data: [DONE]\n\n"
# Before any event.
FROM_START = -1


class ResponseReader:
    """Reads the log of a response, from its first row, and yields the events behind number `after`.

    Of an answer that was restarted before this reader came, only what follows the last restart is told.
    """

    def __init__(
        self, key: ApiKey, found: StoredResponse, *, after: int = FROM_START, restarted_at: int = 0
    ) -> None:
        """`restarted_at`: the seq of the last restart that the log has now, see `last_restart`."""
        self._key = key
        self._generation_id = found.generation.pk
        self._after = after
        self._restarted_at = restarted_at
        self._fold = ResponseEvents(
            found.generation.pk,
            lambda status: objects.begun(found.generation, found.response, status),
            is_background=found.response.is_background,
        )
        # Events before the restart. They are told after all if the restart was of nothing.
        self._held: list[ResponseEvent] = []
        self._has_rows = False
        # The number of the last event that the client has.
        self.position = after
        self.is_over = False
        # Whether it is over and the answer is complete.
        self.is_complete = False

    def opening(self) -> list[ResponseEvent]:
        """Return the events that need no row."""
        return self._behind(self._fold.opening(), seq=0)

    async def events_of(self, row: LogRow) -> list[ResponseEvent]:
        """Return the events of a row. Raises ApiError `restarted` if what the client has is void."""
        event = events.decode(row.payload)
        first_item = self._fold.first_item_number
        await self._read_images(event)
        if isinstance(event, events.Snapshot):
            made = self._fold.short_form(event) if not self._has_rows and self._after < 0 else []
        else:
            made = self._fold.of(event)
        self._has_rows = True
        if made and made[0].type == RESTARTED and row.seq > self._restarted_at:
            self._check_restart(made[0], first_item)
        told = self._behind(made, row.seq)
        if row.is_terminal:
            told += await self._last(is_pruned=isinstance(event, events.Snapshot))
        return told

    async def _read_images(self, event: events.Event) -> None:
        images = event.images if isinstance(event, events.Snapshot) else []
        images = [event] if isinstance(event, events.Image) else images
        for image, loaded in zip(images, await answer_images.load(images), strict=True):
            self._fold.pictures[image.attachment] = loaded.data or None

    def _behind(self, made: list[ResponseEvent], seq: int) -> list[ResponseEvent]:
        """Return the events that the client lacks, and note that it has them now."""
        if made and made[0].type == RESTARTED:
            self._held, made = [], made[1:]
        if seq < self._restarted_at:
            self._held += made
            return []
        made, self._held = self._held + made, []
        told = [event for event in made if event.number > self._after]
        if told:
            self.position = told[-1].number
        return told

    def _check_restart(self, marker: ResponseEvent, first_item: int | None) -> None:
        if first_item is not None and self.position >= first_item:
            self.position = marker.number
            raise ApiError(
                "restarted",
                _(
                    "The answer was interrupted and is generated again. What was sent of it is void: "
                    "continue the stream behind this event."
                ),
            )

    async def _last(self, *, is_pruned: bool) -> list[ResponseEvent]:
        """Return the last event: the response in its final state."""
        self.is_over = True
        found = await database_sync_to_async(chains.look_up)(self._key, self._generation_id)
        if found is None:
            raise chains.not_found()
        self.is_complete = found.generation.status == Generation.Status.COMPLETED
        items = None if is_pruned else self._fold.items
        images = await answer_images.load_all(found.generation) if is_pruned else ()
        response = objects.current(found.generation, found.response, items, images=images)
        after = self.position if is_pruned else FROM_START
        return self._behind([self._fold.last(response, after=after)], self._restarted_at)


class ResponseFormat:
    """Formats the events of a response as server-sent events, and `[DONE]` at the end."""

    def __init__(self, reader: ResponseReader) -> None:
        self._reader = reader

    def opening(self) -> bytes:
        return b"".join(map(_frame, self._reader.opening()))

    async def encode(self, row: LogRow) -> bytes:
        """Return the events of a row. Raises ApiError if the stream cannot go on."""
        made = b"".join(map(_frame, await self._reader.events_of(row)))
        return made + DONE if self._reader.is_over else made

    def encode_error(self, error: ApiError) -> bytes:
        return b"event: error\ndata: " + error_payload(error, self._reader.position) + b"\n\n"


async def read_response(key: ApiKey, found: StoredResponse, *, after: int = FROM_START) -> ResponseReader:
    """Return a reader of a response whose log may have rows already."""
    restarted_at = await database_sync_to_async(last_restart)(found.generation.pk)
    return ResponseReader(key, found, after=after, restarted_at=restarted_at)


def error_payload(error: ApiError, position: int, **more: int) -> bytes:
    """Return the event that ends a stream early. Both forms in use are in it: flat, and under `error`.

    Its number is that of the last event before it, behind which the stream can be continued.
    """
    details = error.as_wire()
    flat = {"code": details.code, "message": details.message, "param": details.param}
    return wire.encode(
        {
            "type": "error",
            "sequence_number": max(position, 0),
            **more,
            **flat,
            "error": {"type": details.type, **flat},
        }
    )


def _frame(event: ResponseEvent) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.type.encode(), event.payload)
