"""/v1/batches: OpenAI's batch API, for every model: by its provider if it has one, else one call per line."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.api import batch_results, files, json_body, parsing
from chat.api import requests as completion_requests
from chat.api.auth import authenticate
from chat.api.bodies import invalid as invalid_body
from chat.api.errors import ApiError, json_response
from chat.api.file_parts import check_inline
from chat.api.invalid_body import InvalidBody
from chat.api.responses import parsing as responses_parsing
from chat.api.responses.input import check_calls, to_messages
from chat.api.responses.requests import echo_of
from chat.batches import intake
from chat.batches.invalid_input import InputInvalid, invalid
from chat.batches.lines import LineSource
from chat.models import ApiKey, Batch, Model
from chat.models.api_request import ApiRequest, ResponseRequest
from chat.runtime.process import current_runtime

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
LISTED_MAX, LISTED_DEFAULT = 100, 20


class BatchRequest(msgspec.Struct, frozen=True):
    input_file_id: str
    endpoint: str
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    output_expires_after: dict[str, Any] | None = None


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(BatchRequest)


class RequestCounts(msgspec.Struct, frozen=True):
    total: int
    completed: int
    failed: int


class BatchObject(msgspec.Struct, frozen=True, kw_only=True):
    """A batch in OpenAI's format. Times in Unix seconds."""

    id: str
    object: str = "batch"
    endpoint: str
    model: str
    errors: dict[str, Any] | None
    input_file_id: str
    completion_window: str = "24h"
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


class BatchList(msgspec.Struct, frozen=True):
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


def as_wire(batch: Batch) -> BatchObject:
    status = {Batch.Status.READY: "validating", Batch.Status.PAUSED: "in_progress"}.get(
        Batch.Status(batch.status), batch.status
    )
    ended = batch.is_ended
    problems = [{"code": "invalid", "line": line, "message": text} for line, text in batch.input_errors]
    if not problems and batch.status == Batch.Status.FAILED and batch.error_message:
        problems = [{"code": "failed", "line": None, "message": batch.error_message}]

    def when(status_: str, moment: datetime | None = batch.finished_at) -> int | None:
        return None if batch.status != status_ or moment is None else int(moment.timestamp())

    return BatchObject(
        id=batch.wire_id,
        endpoint=batch.url or CHAT,
        model=batch.model_name,
        errors={"object": "list", "data": problems} if problems else None,
        input_file_id=batch.input_file,
        status=status,
        output_file_id=f"{batch_results.OUTPUT}{batch.pk.hex}" if ended and batch.completed else None,
        error_file_id=f"{batch_results.ERRORS}{batch.pk.hex}" if ended and batch.failed else None,
        created_at=int(batch.created_at.timestamp()),
        in_progress_at=int(batch.started_at.timestamp()) if batch.started_at else None,
        completed_at=when("completed"),
        failed_at=when("failed"),
        expired_at=when("expired"),
        cancelled_at=when("cancelled"),
        cancelling_at=when("cancelling", timezone.now()),
        request_counts=RequestCounts(batch.total, batch.completed, batch.failed),
        metadata=batch.metadata,
    )


async def create(request: HttpRequest) -> HttpResponseBase:
    """Check the lines of an uploaded file, store them and start them. A bad file is a batch that failed."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    try:
        options = json_body.convert(json_body.decode(request.body), BatchRequest)
    except InvalidBody as exc:
        raise invalid_body(exc) from exc
    if options.endpoint not in (CHAT, RESPONSES):
        text = _("“endpoint” must be %(chat)s or %(responses)s.") % {"chat": CHAT, "responses": RESPONSES}
        raise ApiError("invalid_value", text, param="endpoint")
    # In a thread: a large file takes seconds.
    batch = await sync_to_async(_create, thread_sensitive=False)(key, options)
    return json_response(as_wire(batch))


def _create(key: ApiKey, options: BatchRequest) -> Batch:
    file = files.find(key, options.input_file_id, "input_file_id")
    writer = current_runtime().writer
    facts: dict[str, Any] = {
        "api_key": key,
        "input_file": file.wire_id,
        "url": options.endpoint,
        "metadata": options.metadata,
    }
    with tempfile.NamedTemporaryFile() as copied:
        for part in file.slices():
            copied.write(part)
        copied.flush()
        source = LineSource(Path(copied.name), "jsonl", convert=partial(convert, options.endpoint))
        try:
            source.check()
            batch = intake.new_batch(key.user, _model_of(source), file.name, **facts)
            batch = intake.accept(writer, batch, source)
        except InputInvalid as error:
            return _failed(key, file.name, error, facts)
    writer.run(batch.start)
    return batch


def _model_of(source: LineSource) -> Model:
    if not source.table.is_api:
        raise invalid(_("Each line must have “custom_id”, “method”, “url” and “body”."))
    name = next(iter(source.models))
    model = Model.objects.find(name)
    if model is None:
        raise invalid(_("There is no model “%(name)s”.") % {"name": name[:80]})
    return model


def _failed(key: ApiKey, name: str, error: InputInvalid, facts: dict[str, Any]) -> Batch:
    """Store that an input file was refused: programs of the batch API expect that of the batch."""
    batch = Batch(
        user=key.user,
        name=name[:200],
        status=Batch.Status.FAILED,
        error_message=error.message,
        input_errors=[(problem.line, problem.text) for problem in error.problems],
        finished_at=timezone.now(),
        **facts,
    )
    current_runtime().writer.run(partial(batch.save, force_insert=True))
    return batch


def convert(endpoint: str, url: str, body: dict[str, Any]) -> ApiRequest:
    """Return the request in a line, checked like a request of its own. Raises InputInvalid."""
    if url != endpoint:
        raise invalid(_("“url” must be the batch's endpoint, %(endpoint)s.") % {"endpoint": endpoint})
    body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    try:
        return _completion(body) if url == CHAT else _response(body)
    except InvalidBody as error:
        raise invalid(_(error.message) % error.values) from error


def _completion(body: dict[str, Any]) -> ApiRequest:
    parsed = parsing.parse(msgspec.json.encode(body))
    check_inline(parsed.messages, "messages")
    return ApiRequest(
        parsed.messages, completion_requests.parameters_of(parsed.options), extras=parsed.extras
    )


def _response(body: dict[str, Any]) -> ApiRequest:
    parsed = responses_parsing.parse(msgspec.json.encode(body))
    options = parsed.options
    if options.previous_response_id is not None:
        raise invalid(_("“previous_response_id” cannot be used in a batch."))
    own = to_messages(parsed.items, {})
    check_calls(own.unmatched, set())
    check_inline(own.messages, "input")
    instructions = [{"role": "system", "content": options.instructions}] if options.instructions else []
    return ApiRequest(
        [*instructions, *own.messages],
        responses_parsing.parameters_of(options),
        response=ResponseRequest(
            own_messages=len(own.messages),
            has_instructions=bool(options.instructions),
            is_stored=options.store is not False,
            echo=echo_of(options),
        ),
    )


async def index(request: HttpRequest) -> HttpResponseBase:
    """List the batches of the key's user, the newest first, or those after one."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    limit = LISTED_DEFAULT
    with suppress(ValueError):
        limit = min(max(1, int(request.GET.get("limit", limit))), LISTED_MAX)
    return json_response(await database_sync_to_async(_list)(key, limit, request.GET.get("after", "")))


def _list(key: ApiKey, limit: int, after: str) -> BatchList:
    # Their ids are in the order of their creation.
    batches = Batch.objects.of(key.user).order_by("-pk")
    if after:
        batches = batches.filter(pk__lt=_find(key, after).pk)
    found = [as_wire(each) for each in batches[: limit + 1]]
    page = found[:limit]
    return BatchList(
        page, page[0].id if page else None, page[-1].id if page else None, has_more=len(found) > limit
    )


async def show(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Return a batch as it is now."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    return json_response(as_wire(await database_sync_to_async(_find)(key, wire_id)))


async def cancel(request: HttpRequest, wire_id: str) -> HttpResponseBase:
    """Cancel a batch. What was answered is kept."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    batch = await database_sync_to_async(_find)(key, wire_id)
    await current_runtime().writer.arun(batch.cancel)
    return json_response(as_wire(batch))


def _find(key: ApiKey, wire_id: str) -> Batch:
    found = None
    with suppress(ValueError):
        pk = uuid.UUID(hex=wire_id.removeprefix(Batch.WIRE_PREFIX))
        found = Batch.objects.of(key.user).filter(pk=pk).first()
    if found is None:
        raise ApiError("not_found", _("There is no batch “%(id)s”.") % {"id": wire_id[:80]})
    return found
