"""A generation's log as the chunks of a streamed completion."""

from __future__ import annotations

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _
from msgspec import UNSET, UnsetType

from chat import events
from chat.api import answer_images, serializers
from chat.api import schemas as wire
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
        self._id = serializers.completion_id(follower.generation_id)
        self._model = options.model
        self._created = created
        self._has_role = False
        # Whether text or a tool call was sent.
        self._has_answer = False

    async def encode(self, row: LogRow) -> bytes:
        """Return the chunks of a row. Raises ApiError if the answer cannot be completed."""
        return b"".join(await self._chunks_of(events.decode(row.payload)))

    def encode_error(self, error: ApiError) -> bytes:
        return _data(wire.ErrorReply(error.as_wire()))

    async def _chunks_of(self, event: events.Event) -> list[bytes]:
        match event:
            case events.Started(model=model) | events.Switched(model=model) | events.Continued(model=model):
                self._model = model
            case events.Delta(text, is_refusal):
                self._has_answer = True
                return self._delta(_text_delta(text, is_refusal=is_refusal))
            case events.ToolCall():
                self._has_answer = True
                return self._tool_call(event)
            case events.Image():
                return await self._image(event)
            case events.Thinking(text):
                return self._delta(wire.ChunkDelta(reasoning_content=text))
            case events.Restarted(reason) if self._has_answer and reason != events.BECAME_REASONING:
                # Text that was sent cannot be taken back, so the rest is of no use to this client.
                self._follower.stop_on_release = True
                raise ApiError(
                    "restarted",
                    _("The answer was interrupted, and the model gave a different one on the next attempt."),
                    generation=self._follower.wire_id,
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
        chunks = []
        if event.thinking:
            chunks += self._delta(wire.ChunkDelta(reasoning_content=event.thinking))
        if event.text:
            chunks += self._delta(_text_delta(event.text, is_refusal=event.is_refusal))
        for index, call in enumerate(event.tool_calls):
            chunks += self._tool_call(events.ToolCall(index, call.id, call.name, call.arguments))
        for image in event.images:
            chunks += await self._image(image)
        return [*chunks, *await self._end(event.finish_reason)]

    async def _image(self, image: events.Image) -> list[bytes]:
        [loaded] = await answer_images.load([image])
        if not loaded.url:
            return []
        self._has_answer = True
        return self._delta(wire.ChunkDelta(images=[wire.MessageImage(wire.ImageUrl(loaded.url))]))

    def _tool_call(self, piece: events.ToolCall) -> list[bytes]:
        return [chunk for delta in _call_deltas(piece) for chunk in self._delta(delta)]

    def _delta(self, delta: wire.ChunkDelta) -> list[bytes]:
        return [*self._role(), self._chunk(delta)]

    def _role(self) -> list[bytes]:
        """Return the chunk that has to come first, unless it was sent already."""
        if self._has_role:
            return []
        self._has_role = True
        return [self._chunk(wire.ChunkDelta(role="assistant", content=""))]

    async def _end(self, finish_reason: str) -> list[bytes]:
        return [*self._role(), self._chunk(wire.ChunkDelta(), finish_reason), *await self._last()]

    async def _last(self) -> list[bytes]:
        """Return what follows the finish reason."""
        if not self._has_usage:
            return [DONE]
        find = database_sync_to_async(serializers.find)
        generation = await find(self._key, self._follower.generation_id)
        return [self._data([], serializers.usage(generation)), DONE]

    def _chunk(self, delta: wire.ChunkDelta, finish_reason: str | None = None) -> bytes:
        return self._choice_chunk(wire.ChunkChoice(0, delta, finish_reason))

    def _choice_chunk(self, choice: wire.ChunkChoice) -> bytes:
        return self._data([choice], None if self._has_usage else UNSET)

    def _data(self, choices: list[wire.ChunkChoice], usage: wire.CompletionUsage | UnsetType | None) -> bytes:
        return _data(
            wire.Chunk(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)
        )


class ChoicesChunkFormat(ChunkFormat):
    """Formats an answer with several choices or log probabilities: each piece as the endpoint sent it."""

    def __init__(
        self, options: wire.CompletionOptions, key: ApiKey, follower: Follower, *, created: int
    ) -> None:
        super().__init__(options, key, follower, created=created)
        # The choices whose first chunk was sent, and those of them whose finish reason was not.
        self._begun: set[int] = set()
        self._unfinished: set[int] = set()

    async def _chunks_of(self, event: events.Event) -> list[bytes]:
        match event:
            case events.Choices(pieces):
                return [chunk for piece in pieces for chunk in self._piece(piece)]
            case events.Delta() | events.Thinking() | events.ToolCall() | events.Restarted():
                return []  # the first choice, which is among the choices as well
        return await super()._chunks_of(event)

    def _piece(self, piece: events.ChoicePiece) -> list[bytes]:
        index = piece.index
        chunks = []
        if index not in self._begun:
            self._begun.add(index)
            self._unfinished.add(index)
            chunks.append(wire.ChunkChoice(index, wire.ChunkDelta(role="assistant", content="")))
        if piece.text or piece.thinking or piece.refusal or piece.logprobs:
            delta = wire.ChunkDelta(
                content=piece.text or None,
                reasoning_content=piece.thinking or None,
                refusal=piece.refusal or None,
            )
            chunks.append(wire.ChunkChoice(index, delta, logprobs=piece.logprobs))
        for call in piece.tool_calls:
            chunks += [wire.ChunkChoice(index, delta) for delta in _call_deltas(call)]
        if piece.finish_reason:
            self._unfinished.discard(index)
            chunks.append(wire.ChunkChoice(index, wire.ChunkDelta(), piece.finish_reason))
        return [self._choice_chunk(chunk) for chunk in chunks]

    async def _snapshot(self, event: events.Snapshot) -> list[bytes]:
        error = serializers.error_of(event, self._follower.generation_id)
        if error is not None:
            raise error
        generation = await database_sync_to_async(serializers.find)(self._key, self._follower.generation_id)
        self._model = serializers.answered_by(generation)
        pieces = map(serializers.choice_piece, generation.message.choices or ())
        chunks = [chunk for piece in pieces for chunk in self._piece(piece)]
        return [*chunks, *await self._end(event.finish_reason)]

    async def _end(self, finish_reason: str) -> list[bytes]:
        """Return the rest. Choices lack a finish reason only if the answer grew too long."""
        ends = [
            wire.ChunkChoice(index, wire.ChunkDelta(), finish_reason) for index in sorted(self._unfinished)
        ]
        return [*map(self._choice_chunk, ends), *await self._last()]


def format_for(
    options: wire.CompletionOptions, key: ApiKey, follower: Follower, *, created: int
) -> ChunkFormat:
    """Return the format of a stream with these options."""
    has_choices = (options.n or 1) > 1 or options.logprobs
    return (ChoicesChunkFormat if has_choices else ChunkFormat)(options, key, follower, created=created)


def _call_deltas(piece: events.ToolCall) -> list[wire.ChunkDelta]:
    """Return a piece of a call. The first chunk of a call has no arguments yet."""
    calls = []
    if piece.id:
        begin = wire.ChunkFunction("", piece.name)
        calls.append(wire.ChunkToolCall(piece.index, begin, piece.id, "function"))
    if piece.arguments:
        calls.append(wire.ChunkToolCall(piece.index, wire.ChunkFunction(piece.arguments)))
    return [wire.ChunkDelta(tool_calls=[call]) for call in calls]


def _text_delta(text: str, *, is_refusal: bool) -> wire.ChunkDelta:
    return wire.ChunkDelta(refusal=text) if is_refusal else wire.ChunkDelta(content=text)


def _data(value: wire.Chunk | wire.ErrorReply) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"
