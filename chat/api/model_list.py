"""GET /v1/models: what can be asked."""

from __future__ import annotations

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from chat.api import schemas as wire
from chat.api.auth import key_of
from chat.api.errors import ApiError, json_response
from chat.models import ApiKey, Model


async def index(request: HttpRequest) -> HttpResponseBase:
    """List the models that are offered, the default first."""
    await key_of(request, ApiKey.Scope.MODELS)
    named = await database_sync_to_async(Model.objects.named)()
    return json_response(wire.ModelList([_card(name, model) for name, model in named.items()]))


async def show(request: HttpRequest, name: str) -> HttpResponseBase:
    """Describe one model."""
    await key_of(request, ApiKey.Scope.MODELS)
    model = await database_sync_to_async(Model.objects.find)(name)
    if model is None:
        raise ApiError(
            "model_not_found",
            _("There is no model “%(name)s”. GET /v1/models lists those that can be used.")
            % {"name": name[:100]},
        )
    return json_response(_card(name, model))


def _card(name: str, model: Model) -> wire.ModelCard:
    return wire.ModelCard(name, model.endpoint.name)
