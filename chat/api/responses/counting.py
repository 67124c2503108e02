"""POST /v1/responses/input_tokens, an estimate of a request's size; and …/compact, which is not offered."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from chat.api import bodies
from chat.api.auth import authenticate
from chat.api.errors import ApiError, json_response
from chat.api.responses import requests
from chat.api.responses import schemas as wire
from chat.generation.prompt import tokens_of
from chat.models import ApiKey
from chat.models.api_request import ApiRequest


async def count_input(request: HttpRequest) -> HttpResponseBase:
    """Estimate how many tokens the input of a request takes. No response is created."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    received = await requests.receive(request, key)
    if received.stored is not None:
        await bodies.discard(received.stored)
    tokens = tokens_of(ApiRequest(received.messages, large=received.large))
    return json_response(wire.InputTokenCount(tokens))


async def compact(request: HttpRequest) -> HttpResponseBase:
    """Refuse to compact: only the model's provider could do it, and providers of chat completions do not."""
    await authenticate(request, ApiKey.Scope.CHAT)
    raise ApiError(
        "unknown_url",
        _("Compaction is not supported. Send fewer items, or a summary of them that a model wrote."),
    )
