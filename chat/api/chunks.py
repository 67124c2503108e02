"""A generation's log as the chunks of a streamed completion."""

from __future__ import annotations

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _
from msgspec import UNSET, UnsetType

from chat import events
from chat.api import schemas as wire
from chat.api import serializers
from chat.api.errors import ApiError
from chat.api.streaming import Follower
from chat.event_log.lease import LogRow
from chat.models import ApiKey

DONE = b"data: [DONE]\n\n"


class ChunkFormat:
    """Formats events as OpenAI's `chat.completion.chunk`, and `[DONE]` at the end."""

    def __init__(
        self, options: wire.CompletionOptions, key: ApiKey, follower: Follower, *, created: int
    ) -> None:
        self._key = key
        self._follower = follower
        self._has_usage = bool(options.stream_options and options.stream_options.include_usage)
        self._id = follower.wire_id
        self._model = options.model
        self._created = created
        self._has_role = False
        self._has_text = False

    async def encode(self, row: LogRow) -> bytes:
        """Return the chunks of a row. Raises ApiError if the answer cannot be completed."""
        return b"".join(await self._chunks_of(events.decode(row.payload)))

    def encode_error(self, error: ApiError) -> bytes:
        return _data(wire.ErrorReply(error.as_wire()))

    async def _chunks_of(self, event: events.Event) -> list[bytes]:
        match event:
            case events.Started(model=model) | events.Switched(model=model) | events.Continued(model=model):
                self._model = model
            case events.Delta(text):
                self._has_text = True
                return self._delta(wire.ChunkDelta(content=text))
            case events.Thinking(text):
                return self._delta(wire.ChunkDelta(reasoning_content=text))
            case events.Restarted(reason) if self._has_text and reason != events.BECAME_REASONING:
                # Text that was sent cannot be taken back, so the rest is of no use to this client.
                self._follower.stop_on_release = True
                raise ApiError(
                    "restarted",
                    _("The answer was interrupted, and the model gave a different one on the next attempt."),
                    generation=self._id,
                )
            case events.Snapshot():
                return await self._snapshot(event)
            case events.Completed(finish_reason):
                return await self._end(finish_reason)
            case events.Stopped() | events.Failed() | events.Interrupted():
                error = serializers.error_of(event, self._follower.generation_id)
                assert error is not None
                raise error
        return []

    async def _snapshot(self, event: events.Snapshot) -> list[bytes]:
        error = serializers.error_of(event, self._follower.generation_id)
        if error is not None:
            raise error
        generation = await database_sync_to_async(serializers.find)(self._key, self._follower.generation_id)
        self._model = serializers.answered_by(generation)
        delta = wire.ChunkDelta(content=event.text, reasoning_content=event.thinking or None)
        return [*self._delta(delta), *await self._end(event.finish_reason)]

    def _delta(self, delta: wire.ChunkDelta) -> list[bytes]:
        return [*self._role(), self._chunk(delta)]

    def _role(self) -> list[bytes]:
        """Return the chunk that has to come first, unless it was sent already."""
        if self._has_role:
            return []
        self._has_role = True
        return [self._chunk(wire.ChunkDelta(role="assistant", content=""))]

    async def _end(self, finish_reason: str) -> list[bytes]:
        chunks = [*self._role(), self._chunk(wire.ChunkDelta(), finish_reason)]
        if self._has_usage:
            find = database_sync_to_async(serializers.find)
            generation = await find(self._key, self._follower.generation_id)
            chunks.append(self._data([], serializers.usage(generation)))
        return [*chunks, DONE]

    def _chunk(self, delta: wire.ChunkDelta, finish_reason: str | None = None) -> bytes:
        usage = None if self._has_usage else UNSET
        return self._data([wire.ChunkChoice(0, delta, finish_reason)], usage)

    def _data(self, choices: list[wire.ChunkChoice], usage: wire.CompletionUsage | UnsetType | None) -> bytes:
        return _data(
            wire.Chunk(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)
        )


def _data(value: wire.Chunk | wire.ErrorReply) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"
