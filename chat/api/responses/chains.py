"""Stored responses: finding one, and what the next response of a chain inherits from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db.models import OuterRef, Subquery
from django.utils.translation import gettext as _

from chat.api.errors import ApiError
from chat.api.responses.ids import generation_id_of
from chat.api.responses.input import ANSWERED_WITH_PICTURE
from chat.models import ApiKey, Attempt, Generation, LargeRequest
from chat.models.api_request import ApiRequest, ResponseRequest


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A generation that was asked for as a response, and what was asked."""

    generation: Generation
    request: ApiRequest
    response: ResponseRequest


@dataclass(frozen=True, slots=True)
class EarlierMessages:
    """What a response inherits: messages as JSON, the ids of the function calls in them, attachments."""

    messages: list[bytes]
    call_ids: set[str]
    # As in ApiRequest.
    attachments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownResponses:
    """Responses that one connection may continue, although they are not stored for others.

    `unstored`: with `"store": false`. `prepared`: without an answer.
    """

    unstored: set[str] = field(default_factory=set)
    prepared: dict[str, EarlierMessages] = field(default_factory=dict)

    def forget(self, response_id: str | None) -> None:
        self.unstored.discard(response_id or "")
        self.prepared.pop(response_id or "", None)


def find(key: ApiKey, response_id: str) -> StoredResponse:
    """Return a stored response of this key's user.

    Raises ApiError `not_found`, in the same words for one that is missing, foreign, deleted or not stored.
    """
    found = look_up(key, generation_id_of(response_id))
    if found is None or not found.response.is_stored:
        raise not_found()
    return found


def not_found() -> ApiError:
    return ApiError("not_found", _("This response does not exist, or your API keys have no access to it."))


def look_up(key: ApiKey, generation_id: int | None) -> StoredResponse | None:
    """Return a response of this key's user, stored or not, or None."""
    if generation_id is None:
        return None
    last = Attempt.objects.filter(generation=OuterRef("pk")).order_by("-number").values("model_name")[:1]
    rows = Generation.objects.of_programs(key.user).select_related("message__conversation").defer("prefix")
    generation = rows.annotate(last_model_name=Subquery(last)).filter(pk=generation_id).first()
    request = generation.api_request if generation is not None else None
    if generation is None or request is None or request.response is None:
        return None
    return StoredResponse(generation, request, request.response)


def earlier_messages(key: ApiKey, response_id: str, unstored: Collection[str] = ()) -> EarlierMessages:
    """Return the messages up to the end of a response. `unstored`: responses that a connection may continue.

    Raises ApiError: `previous_response_not_found`, `invalid_value` if it has no complete answer.
    """
    found = look_up(key, generation_id_of(response_id))
    if found is None or not (found.response.is_stored or response_id in unstored):
        raise ApiError(
            "previous_response_not_found",
            _("The previous response “%(id)s” does not exist, or was not stored.") % {"id": response_id},
            param="previous_response_id",
        )
    if found.generation.status != Generation.Status.COMPLETED:
        raise ApiError(
            "invalid_value",
            _("The previous response is %(status)s. Only a response with an answer can be continued.")
            % {"status": found.generation.get_status_display()},
            param="previous_response_id",
        )
    messages = [*_messages_of(found), msgspec.json.encode(answer_of(found.generation))]
    return EarlierMessages(messages, set(_call_ids_in(messages)), found.request.attachments)


def own_messages(found: StoredResponse) -> list[dict[str, Any]]:
    """Return the messages that the request of a response sent."""
    messages = _all_messages(found)
    count = found.response.own_messages
    return [msgspec.json.decode(message) for message in messages[len(messages) - count :]]


def answer_of(generation: Generation) -> dict[str, Any]:
    """Return the answer as a message of a prompt."""
    message = generation.message
    words = [message.text, *([ANSWERED_WITH_PICTURE] if message.attachment_tokens else ())]
    text = "\n\n".join(each for each in words if each)
    answer: dict[str, Any] = {"role": "assistant", "content": text or None}
    if message.tool_calls:
        answer["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in message.tool_calls
        ]
    elif answer["content"] is None:
        answer["content"] = ""
    return answer


def _messages_of(found: StoredResponse) -> list[bytes]:
    """Return what was sent to the model, but for the instructions, which are not inherited."""
    return _all_messages(found)[1 if found.response.has_instructions else 0 :]


def _all_messages(found: StoredResponse) -> list[bytes]:
    if found.request.large is None:
        return [msgspec.json.encode(message) for message in found.request.messages]
    stored = b"".join(LargeRequest.messages_of(found.generation.pk))
    return [bytes(raw) for raw in msgspec.json.decode(b"[" + stored + b"]", type=list[msgspec.Raw])]


def _call_ids_in(messages: list[bytes]) -> Iterator[str]:
    for message in messages:
        # Most messages have none, and can be large.
        if b'"tool_calls"' in message:
            for call in msgspec.json.decode(message).get("tool_calls") or ():
                if isinstance(call, dict) and isinstance(call.get("id"), str):
                    yield call["id"]
