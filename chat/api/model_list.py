"""GET /v1/models: the models that requests can name."""

from __future__ import annotations

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chat.api import schemas as wire
from chat.api.auth import authenticate
from chat.api.errors import json_response, unknown_model
from chat.models import ApiKey, Model


async def index(request: HttpRequest) -> HttpResponseBase:
    """List the available models, the default first."""
    await authenticate(request, ApiKey.Scope.MODELS)
    named = await database_sync_to_async(Model.objects.named)()
    return json_response(wire.ModelList([_model_card(name, model) for name, model in named.items()]))


async def show(request: HttpRequest, name: str) -> HttpResponseBase:
    """Describe one model."""
    await authenticate(request, ApiKey.Scope.MODELS)
    model = await database_sync_to_async(Model.objects.find)(name)
    if model is None:
        raise unknown_model(name)
    return json_response(_model_card(name, model))


def _model_card(name: str, model: Model) -> wire.ModelCard:
    return wire.ModelCard(
        id=name,
        owned_by=model.endpoint.name,
        created=int(model.created_at.timestamp()),
        context_length=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        capabilities=wire.Capabilities(
            tools=model.takes_tools, continuation=model.continuation != Model.Continuation.NONE
        ),
    )
