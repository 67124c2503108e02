"""/v1/responses: create, read, follow, cancel and delete responses, and read what was asked."""

from __future__ import annotations

import asyncio
from functools import partial

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from chat.api import answer_images
from chat.api import requests as completion_requests
from chat.api.auth import authenticate
from chat.api.errors import ApiError, json_response
from chat.api.responses import chains, input_items, objects, requests
from chat.api.responses import schemas as wire
from chat.api.responses.chains import StoredResponse
from chat.api.responses.ids import response_id
from chat.api.responses.requests import ReceivedResponseRequest
from chat.api.responses.streaming import FROM_START, ResponseFormat, read_response
from chat.api.streaming import EventStream, Follower
from chat.generation.start import stop, stop_requested
from chat.models import ApiKey
from chat.models.generation import StartedGeneration
from chat.runtime.process import current_runtime

# How long a cancelled response is waited for.
CANCEL_WAIT_S = 5.0
NUMBER_MAX = 2**31 - 1
PAGE_MAX, PAGE_DEFAULT = 100, 20


async def create(request: HttpRequest) -> HttpResponseBase:
    """Create a response: whole, as a stream, or in the background."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    received = await requests.receive(request, key)
    started = await begin(key, received)
    if received.options.background and not received.options.stream:
        return await _show(key, started.generation_id)
    follower = follow(key, started, received)
    try:
        if received.options.stream:
            return await _stream(key, await look_up(key, started.generation_id), follower)
        return await _whole(key, follower)
    except BaseException:
        follower.release()
        raise


async def begin(key: ApiKey, received: ReceivedResponseRequest) -> StartedGeneration:
    """Store a request and start its generation. Raises RequestRefused and ApiError."""
    operation = partial(received.store, key)
    return await completion_requests.begin(key, operation, received.patience_s, received.stored)


def follow(key: ApiKey, started: StartedGeneration, received: ReceivedResponseRequest) -> Follower:
    """Follow a response that was just created."""
    return Follower(
        key,
        started.generation_id,
        is_about_to_start=not started.is_repeat,
        stop_on_release=not received.outlives_connection,
    )


async def show(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Return a response as it is now, or with `stream=true` its events behind `starting_after`."""
    key, found = await _find(request, wire_id)
    if not _flag(request, "stream"):
        return json_response(await _current(found))
    after = _number(request, "starting_after", FROM_START, at_least=FROM_START, at_most=NUMBER_MAX)
    follower = Follower(key, found.generation.pk)
    try:
        return await _stream(key, found, follower, after=after)
    except BaseException:
        follower.release()
        raise


async def cancel(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Stop a response, and return it when it has ended, or after CANCEL_WAIT_S."""
    key, found = await _find(request, wire_id)
    generation_id = found.generation.pk
    if await stop(current_runtime().runner, key.user, generation_id):
        follower = Follower(key, generation_id)
        try:
            async with asyncio.timeout(CANCEL_WAIT_S):
                async for _rows in follower.rows():
                    pass
        except TimeoutError:
            pass
        finally:
            follower.release()
    return await _show(key, generation_id)


async def delete(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Delete a response for all programs. Reviewers see it for a while, like a deleted conversation."""
    key, found = await _find(request, wire_id)
    runtime = current_runtime()
    active = await runtime.writer.arun(found.generation.message.conversation.delete_softly)
    await stop_requested(runtime.runner, key.user, active)
    return json_response(wire.DeletedResponse(response_id(found.generation.pk)))


async def list_input(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Return the items that the request of a response sent, the newest first unless `order=asc`."""
    _key, found = await _find(request, wire_id)
    limit = _number(request, "limit", PAGE_DEFAULT, at_least=1, at_most=PAGE_MAX)
    order = request.GET.get("order", "desc")
    if order not in ("asc", "desc"):
        raise _invalid("order", _("“order” must be “asc” or “desc”."))
    items = await database_sync_to_async(input_items.items_of)(found)
    page = input_items.page(items, after=request.GET.get("after"), limit=limit, is_ascending=order == "asc")
    return json_response(page)


async def _find(request: HttpRequest, wire_id: str) -> tuple[ApiKey, StoredResponse]:
    key = await authenticate(request, ApiKey.Scope.CHAT)
    return key, await database_sync_to_async(chains.find)(key, wire_id)


async def look_up(key: ApiKey, generation_id: int) -> StoredResponse:
    """Return the response that a request is about, stored or not. Raises ApiError if it is deleted."""
    found: StoredResponse | None = await database_sync_to_async(chains.look_up)(key, generation_id)
    if found is None:
        raise chains.not_found()
    return found


async def _show(key: ApiKey, generation_id: int) -> HttpResponseBase:
    found = await look_up(key, generation_id)
    return json_response(await _current(found))


async def _current(found: StoredResponse) -> wire.ResponseObject:
    images = await answer_images.load_all(found.generation)
    return objects.current(found.generation, found.response, images=images)


async def _stream(
    key: ApiKey, found: StoredResponse, follower: Follower, *, after: int = FROM_START
) -> HttpResponseBase:
    event_format = ResponseFormat(await read_response(key, found, after=after))
    return EventStream(follower, event_format, opening=event_format.opening()).as_response()


async def _whole(key: ApiKey, follower: Follower) -> HttpResponseBase:
    await follower.until_end()
    return await _show(key, follower.generation_id)


def _flag(request: HttpRequest, name: str) -> bool:
    value = request.GET.get(name, "false")
    if value not in ("true", "false"):
        raise _invalid(name, _("“%(name)s” must be true or false.") % {"name": name})
    return value == "true"


def _number(request: HttpRequest, name: str, default: int, *, at_least: int, at_most: int) -> int:
    text = request.GET.get(name, str(default))
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(NUMBER_MAX))
    if not (is_number and at_least <= int(text) <= at_most):
        raise _invalid(
            name,
            _("“%(name)s” must be a whole number from %(least)s to %(most)s.")
            % {"name": name, "least": at_least, "most": at_most},
        )
    return int(text)


def _invalid(param: str, message: str) -> ApiError:
    return ApiError("invalid_value", message, param=param)
