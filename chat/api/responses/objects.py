"""The response object: one generation, as the Responses API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chat.api.answer_images import LoadedImage
from chat.api.errors import CODE_OF
from chat.api.responses import schemas as wire
from chat.api.responses.ids import response_id
from chat.api.responses.output import INCOMPLETE, function_call, image, reasoning, text_message, with_status
from chat.api.serializers import answered_by
from chat.models import Generation
from chat.models.api_request import ResponseRequest

# The codes that client libraries know; every other error is `server_error`. Our own code is in `type`.
_ERROR_CODE = {
    "rate_limited": "rate_limit_exceeded",
    "rejected": "invalid_prompt",
    "context_too_long": "invalid_prompt",
    "content_filter": "invalid_prompt",
}
_STATUS = {
    Generation.Status.QUEUED: "queued",
    Generation.Status.RUNNING: "in_progress",
    Generation.Status.COMPLETED: "completed",
    Generation.Status.STOPPED: "cancelled",
    Generation.Status.FAILED: "failed",
    Generation.Status.INTERRUPTED: "failed",
}


def status_of(generation: Generation) -> str:
    if generation.status == Generation.Status.COMPLETED and generation.finish_reason in INCOMPLETE:
        return "incomplete"
    return _STATUS[Generation.Status(generation.status)]


def begun(generation: Generation, request: ResponseRequest, status: str) -> wire.ResponseObject:
    """Return the response as it was when it had no output yet. It is the same at any time."""
    return _with_facts(generation, request, status=status, model=generation.model_name, output=[])


def current(
    generation: Generation,
    request: ResponseRequest,
    output: list[wire.OutputItem] | None = None,
    *,
    images: Sequence[LoadedImage] = (),
) -> wire.ResponseObject:
    """Return the response as it is now. `output`: its items, if the caller knows their order.

    `images`: else its pictures.
    """
    if output is None:
        output = stored_output(generation, images)
    status = status_of(generation)
    reason = INCOMPLETE.get(generation.finish_reason) if status == "incomplete" else None
    return _with_facts(
        generation,
        request,
        status=status,
        model=answered_by(generation),
        output=output,
        completed_at=_unix(generation.finished_at) if status == "completed" else None,
        incomplete_details=None if reason is None else wire.IncompleteDetails(reason),
        error=_error(generation),
        usage=_usage(generation),
    )


def stored_output(generation: Generation, images: Sequence[LoadedImage] = ()) -> list[wire.OutputItem]:
    """Return the items of an answer that is final, from its message: reasoning, text, calls, pictures."""
    if generation.is_active:
        return []
    message = generation.message
    items: list[wire.OutputItem] = []
    if message.thinking:
        items.append(reasoning(generation.pk, 0, message.thinking))
    if message.text:
        items.append(text_message(generation.pk, 0, message.text, is_refusal=message.is_refusal))
    for number, call in enumerate(message.tool_calls or ()):
        items.append(function_call(generation.pk, number, (call["id"], call["name"], call["arguments"])))
    items += (image(generation.pk, number, loaded.data or None) for number, loaded in enumerate(images))
    if status_of(generation) != "completed":
        items[-1:] = [with_status(item, "incomplete") for item in items[-1:]]
    return items


def _with_facts(generation: Generation, request: ResponseRequest, **values: Any) -> wire.ResponseObject:
    return wire.ResponseObject(
        id=response_id(generation.pk),
        created_at=_unix(generation.created_at) or 0,
        previous_response_id=request.previous,
        background=request.is_background,
        store=request.is_stored,
        **request.echo,
        **values,
    )


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _usage(generation: Generation) -> wire.ResponseUsage | None:
    read, written = generation.input_tokens, generation.output_tokens
    if read is None or written is None or generation.is_active:
        return None
    return wire.ResponseUsage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_tokens_details=wire.InputTokensDetails(cached_tokens=generation.cached_tokens or 0),
        output_tokens_details=wire.OutputTokensDetails(reasoning_tokens=generation.reasoning_tokens or 0),
    )


def _error(generation: Generation) -> wire.ResponseError | None:
    if generation.status not in (Generation.Status.FAILED, Generation.Status.INTERRUPTED):
        return None
    code = generation.error_code
    return wire.ResponseError(
        code=_ERROR_CODE.get(code, "server_error"),
        message=generation.error_message,
        type=CODE_OF.get(code, code),
    )
