"""POST /v1/chat/completions: store a request, and respond with its answer, whole or as a stream."""

from __future__ import annotations

from functools import partial

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chat.api import answer_images, requests, serializers
from chat.api import schemas as wire
from chat.api.auth import authenticate
from chat.api.chunks import format_for
from chat.api.errors import json_response
from chat.api.streaming import EventStream, Follower
from chat.models import ApiKey

# A stream starts after this long even without an event: proxies close connections that are silent for
# longer. Until then a failure has its own HTTP status.
STREAM_START_S = 20.0


async def create(request: HttpRequest) -> HttpResponseBase:
    """Create a generation and respond with its answer."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    received = await requests.receive(request, key)
    operation = partial(received.store, key)
    started = await requests.begin(key, operation, received.patience_s, received.body.stored)
    if received.options.background:
        return await _in_background(key, started.generation_id)
    follower = Follower(
        key,
        started.generation_id,
        is_about_to_start=not started.is_repeat,
        stop_on_release=not received.outlives_connection,
    )
    try:
        if received.options.stream:
            return await _streamed(received.options, key, follower)
        return await _whole(key, follower)
    except BaseException:
        follower.release()
        raise


async def _in_background(key: ApiKey, generation_id: int) -> HttpResponseBase:
    generation = await database_sync_to_async(serializers.find)(key, generation_id)
    state = serializers.as_wire(generation, await answer_images.load_all(generation))
    response = json_response(state, status=202)
    response["Location"] = f"/v1/generations/{generation.wire_id}"
    return response


async def _whole(key: ApiKey, follower: Follower) -> HttpResponseBase:
    await follower.until_end()
    generation = await database_sync_to_async(serializers.find)(key, follower.generation_id)
    completion = serializers.completion(generation, await answer_images.load_all(generation))
    assert completion is not None
    response = json_response(completion)
    response["x-generation-id"] = generation.wire_id
    return response


async def _streamed(options: wire.CompletionOptions, key: ApiKey, follower: Follower) -> HttpResponseBase:
    created = await database_sync_to_async(serializers.created)(follower.generation_id)
    stream = EventStream(follower, format_for(options, key, follower, created=created))
    await stream.start(STREAM_START_S)
    response = stream.as_response()
    response["x-generation-id"] = follower.wire_id
    return response
