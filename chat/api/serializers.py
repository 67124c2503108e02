"""Database rows as the structs of API responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import OuterRef, Subquery
from django.utils.translation import gettext as _

from chat import events
from chat.api import schemas as wire
from chat.api.answer_images import LoadedImage
from chat.api.errors import ApiError, not_found
from chat.models import ApiKey, Attempt, Generation


def wire_id(generation_id: int) -> str:
    return Generation(pk=generation_id).wire_id


def completion_id(generation_id: int) -> str:
    """Return the id of a completion: as at OpenAI, and as valid as the id of its generation."""
    return f"{Generation.COMPLETION_PREFIX}{generation_id}"


def find(key: ApiKey, generation_id: int | None) -> Generation:
    """Return a generation of this key's user. Raises ApiError `not_found` if it is missing or foreign."""
    last = Attempt.objects.filter(generation=OuterRef("pk")).order_by("-number").values("model_name")[:1]
    rows = Generation.objects.of_programs(key.user).select_related("message").defer("request", "prefix")
    rows = rows.annotate(last_model_name=Subquery(last))
    found = rows.filter(pk=generation_id).first() if generation_id is not None else None
    if found is None:
        raise not_found()
    return found


def find_readable(key: ApiKey, generation_id: int | None) -> Generation:
    """Return a generation as `find` does, but none of a response with `"store": false`."""
    found = find(key, generation_id)
    if Generation.objects.filter(pk=found.pk, request__response__is_stored=False).exists():
        raise not_found()
    return found


def created(generation_id: int) -> int:
    """Return when the generation was created, in Unix time."""
    return _unix(Generation.objects.values_list("created_at", flat=True).get(pk=generation_id)) or 0


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def answered_by(generation: Generation) -> str:
    """Return the model of the last attempt of a generation from `find`: the one that answered, if any did."""
    return getattr(generation, "last_model_name", None) or generation.model_name


def usage(generation: Generation) -> wire.CompletionUsage | None:
    read, written = generation.input_tokens, generation.output_tokens
    if read is None or written is None:
        return None
    cached, reasoning = generation.cached_tokens, generation.reasoning_tokens
    return wire.CompletionUsage(
        read,
        written,
        read + written,
        msgspec.UNSET if cached is None else wire.PromptTokensDetails(cached),
        msgspec.UNSET if reasoning is None else wire.CompletionTokensDetails(reasoning),
    )


def completion(generation: Generation, images: Sequence[LoadedImage] = ()) -> wire.Completion | None:
    """Return the answer in OpenAI's format; None if it is not complete. `images`: its pictures."""
    if generation.status != Generation.Status.COMPLETED:
        return None
    return wire.Completion(
        id=completion_id(generation.pk),
        created=_unix(generation.created_at) or 0,
        model=answered_by(generation),
        choices=_choices(generation, [image.url for image in images if image.url]),
        usage=usage(generation),
    )


def _choices(generation: Generation, images: Sequence[str]) -> list[wire.Choice]:
    message = generation.message
    if message.choices is None:
        calls = msgspec.convert(message.tool_calls or [], list[events.WholeToolCall])
        text = message.text
        refusal = text if message.is_refusal else ""
        answer = _assistant_message("" if refusal else text, message.thinking, refusal, calls, images)
        return [wire.Choice(0, answer, generation.finish_reason)]
    choices = msgspec.convert(message.choices, list[events.WholeChoice])
    return [
        wire.Choice(
            each.index,
            _assistant_message(
                each.text, each.thinking, each.refusal, each.tool_calls, () if each.index else images
            ),
            each.finish_reason or generation.finish_reason,
            each.logprobs,
        )
        for each in choices
    ]


def _assistant_message(
    text: str,
    thinking: str,
    refusal: str,
    calls: list[events.WholeToolCall],
    images: Sequence[str],
) -> wire.AssistantMessage:
    tool_calls = [
        wire.MessageToolCall(call.id, wire.FunctionCall(call.name, call.arguments)) for call in calls
    ]
    return wire.AssistantMessage(
        content=None if not text and (refusal or calls or images) else text,
        refusal=refusal or None,
        reasoning_content=thinking or None,
        tool_calls=tool_calls or msgspec.UNSET,
        images=[wire.MessageImage(wire.ImageUrl(url)) for url in images] or msgspec.UNSET,
    )


def choice_piece(stored: dict[str, Any]) -> events.ChoicePiece:
    """Return a stored choice as one piece, for a stream of an answer whose log is gone."""
    whole = msgspec.convert(stored, events.WholeChoice)
    calls = [
        events.ToolCall(index, call.id, call.name, call.arguments)
        for index, call in enumerate(whole.tool_calls)
    ]
    return events.ChoicePiece(
        whole.index, whole.text, whole.thinking, whole.refusal, calls, whole.logprobs, whole.finish_reason
    )


def as_wire(generation: Generation, images: Sequence[LoadedImage] = ()) -> wire.GenerationState:
    """Return the full state of a generation."""
    error = _error(generation.status, generation.error_code, generation.error_message, generation.wire_id)
    return wire.GenerationState(
        id=generation.wire_id,
        status=generation.status,
        model=answered_by(generation),
        created=_unix(generation.created_at) or 0,
        started=_unix(generation.started_at),
        finished=_unix(generation.finished_at),
        text=generation.message.text,
        reasoning=generation.message.thinking,
        finish_reason=generation.finish_reason or None,
        usage=usage(generation),
        error=None if error is None else error.as_wire(),
        completion=completion(generation, images),
    )


def error_of(event: events.Event, generation_id: int) -> ApiError | None:
    """Return the error of a terminal event; None if the answer is complete."""
    match event:
        case events.Stopped():
            return _error(Generation.Status.STOPPED, "", "", wire_id(generation_id))
        case events.Failed(code, message, retry_after_s, param):
            error = _error(Generation.Status.FAILED, code, message, wire_id(generation_id))
            assert error is not None
            error.retry_after_s, error.param = retry_after_s, param or None
            return error
        case events.Interrupted(code, message):
            return _error(Generation.Status.INTERRUPTED, code, message, wire_id(generation_id))
        case events.Snapshot():
            return _error(event.status, event.code, event.message, wire_id(generation_id))
    return None


def _error(status: str, code: str, message: str, generation: str) -> ApiError | None:
    match status:
        case Generation.Status.STOPPED:
            return ApiError(
                "stopped", _("The generation was stopped before it completed."), generation=generation
            )
        case Generation.Status.FAILED | Generation.Status.INTERRUPTED:
            return ApiError(code, message, generation=generation)
    return None
