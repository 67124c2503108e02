"""POST /v1/chat/completions: ask, and answer in OpenAI's words, at once or piece by piece."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

from channels.db import database_sync_to_async
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from msgspec import UNSET, UnsetType

from chat import events
from chat.api import requests, serializers
from chat.api import schemas as wire
from chat.api.auth import key_of
from chat.api.errors import ApiError, json_response
from chat.api.streaming import Following
from chat.generation.start import start
from chat.models import ApiKey
from chat.models.started_generation import StartedGeneration
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

# A stream that has nothing to say begins after this long all the same, or a proxy would give it up.
# Until then a failure has a status of its own.
SILENT_S = 20.0
DONE = b"data: [DONE]\n\n"
PULSE = b": waiting\n\n"


async def create(request: HttpRequest) -> HttpResponseBase:
    """Answer a question."""
    key = await key_of(request, ApiKey.Scope.CHAT)
    question = requests.read(request)
    accepted = await _begin(key, question)
    if question.request.background:
        generation = await database_sync_to_async(serializers.find)(key, accepted.generation_id)
        response = json_response(serializers.as_wire(generation), status=202)
        response["Location"] = f"/v1/generations/{generation.wire_id}"
        return response
    following = Following(
        key,
        accepted.generation_id,
        is_about_to_begin=not accepted.is_repeat,
        stop_when_left=not question.runs_on,
    )
    try:
        if question.request.stream:
            return await _streamed(question, key, following)
        return await _whole(key, following)
    except BaseException:
        following.left()
        raise


async def _begin(key: ApiKey, question: requests.Asked) -> StartedGeneration:
    return await start(current_runtime().runner, key.user, partial(question.begin, key))


async def _whole(key: ApiKey, following: Following) -> HttpResponseBase:
    error: ApiError | None = None
    async for rows in following.rows():
        if rows and rows[-1].is_terminal:
            error = serializers.error_of(events.decode(rows[-1].payload), following.generation_id)
    following.left()
    if error is not None:
        raise error
    generation = await database_sync_to_async(serializers.find)(key, following.generation_id)
    completion = serializers.completion(generation)
    assert completion is not None
    response = json_response(completion)
    response["x-generation-id"] = generation.wire_id
    return response


async def _streamed(question: requests.Asked, key: ApiKey, following: Following) -> HttpResponseBase:
    stream = _Stream(question.request, key, following)
    await stream.begin()
    response = StreamingHttpResponse(stream, content_type="text/event-stream; charset=utf-8")
    response["X-Accel-Buffering"] = "no"
    response["x-generation-id"] = serializers.wire_id(following.generation_id)
    return response


class _Stream:
    """The bytes of one streamed answer. It never raises once it has begun: it ends with an error event."""

    def __init__(self, request: wire.CompletionRequest, key: ApiKey, following: Following) -> None:
        self._key = key
        self._following = following
        self._rows = following.rows()
        self._has_usage = bool(request.stream_options and request.stream_options.include_usage)
        self._id = serializers.wire_id(following.generation_id)
        self._model = request.model
        self._created = 0
        self._first: list[bytes] = []
        self._has_begun = False
        self._has_text = False
        self.close = following.close

    async def begin(self) -> None:
        """Wait for the first word, but not for ever. Raises ApiError if there will be none."""
        self._created = await database_sync_to_async(serializers.created)(self._following.generation_id)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + SILENT_S
        async for rows in self._rows:
            self._first += [piece for row in rows for piece in await self._said(events.decode(row.payload))]
            if self._has_begun or loop.time() > until_s:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield b"".join(self._first) or PULSE
            async for rows in self._rows:
                pieces = [piece for row in rows for piece in await self._said(events.decode(row.payload))]
                if pieces or not rows:
                    yield b"".join(pieces) or PULSE
        except ApiError as error:
            yield _data(wire.ErrorReply(error.as_wire()))
        except Exception:
            logger.exception("a stream of the API failed")
            message = _("Something went wrong in this program. Try again.")
            yield _data(wire.ErrorReply(ApiError("internal", message, generation=self._id).as_wire()))
        finally:
            self._following.left()

    async def _said(self, event: events.Event) -> list[bytes]:
        """Return what an event is on the wire. Raises ApiError for what is no complete answer."""
        match event:
            case events.Started(model=model) | events.Switched(model=model) | events.Continued(model=model):
                self._model = model
            case events.Delta(text):
                self._has_text = True
                return self._opened(wire.Delta(content=text))
            case events.Thinking(text):
                return self._opened(wire.Delta(reasoning_content=text))
            case events.Restarted() if self._has_text:
                self._following.stop_at_end()
                raise ApiError(
                    "restarted",
                    _("The answer was cut, and the model said something else when it was asked again."),
                    generation=self._id,
                )
            case events.Snapshot():
                return await self._replayed(event)
            case events.Completed(finish_reason):
                return await self._ended(finish_reason)
            case events.Stopped() | events.Failed() | events.Interrupted():
                error = serializers.error_of(event, self._following.generation_id)
                assert error is not None
                raise error
        return []

    async def _replayed(self, event: events.Snapshot) -> list[bytes]:
        error = serializers.error_of(event, self._following.generation_id)
        if error is not None:
            raise error
        generation = await database_sync_to_async(serializers.find)(self._key, self._following.generation_id)
        self._model = serializers.answered_by(generation)
        delta = wire.Delta(content=event.text, reasoning_content=event.thinking or None)
        return [*self._opened(delta), *await self._ended(event.finish_reason)]

    def _opened(self, delta: wire.Delta) -> list[bytes]:
        if self._has_begun:
            return [self._chunk(delta)]
        self._has_begun = True
        return [self._chunk(wire.Delta(role="assistant", content="")), self._chunk(delta)]

    async def _ended(self, finish_reason: str) -> list[bytes]:
        pieces = [] if self._has_begun else [self._chunk(wire.Delta(role="assistant", content=""))]
        self._has_begun = True
        pieces.append(self._chunk(wire.Delta(), finish_reason))
        if self._has_usage:
            generation = await database_sync_to_async(serializers.find)(
                self._key, self._following.generation_id
            )
            pieces.append(_data(self._of([], serializers.usage(generation))))
        return [*pieces, DONE]

    def _chunk(self, delta: wire.Delta, finish_reason: str | None = None) -> bytes:
        usage = None if self._has_usage else UNSET
        return _data(self._of([wire.ChunkChoice(0, delta, finish_reason)], usage))

    def _of(self, choices: list[wire.ChunkChoice], usage: wire.Usage | UnsetType | None) -> wire.Chunk:
        return wire.Chunk(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)


def _data(value: wire.Chunk | wire.ErrorReply) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"
