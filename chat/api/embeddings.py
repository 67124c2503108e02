"""POST /v1/embeddings: passed on to the model, in one piece. Nothing of it is stored but what it used."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _
from msgspec import Meta

from chat.api import json_body
from chat.api.auth import authenticate
from chat.api.errors import ApiError, json_response, unknown_model
from chat.api.invalid_body import InvalidBody
from chat.api.parameters import extras_of
from chat.errors import RequestRefused
from chat.generation import routing
from chat.generation.embeddings import embed
from chat.models import ApiKey, EmbeddingCall, Endpoint, Model
from chat.runtime.process import current_runtime

INPUTS_MAX = 2048

type TokenIds = Annotated[list[int], Meta(min_length=1, max_length=100_000)]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for embeddings. Parameters other than these are passed on, or as the endpoint says."""

    model: Annotated[str, Meta(min_length=1, max_length=300)]
    # A text, token ids, or a list of either.
    input: str | list[Any]
    dimensions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: Annotated[str, Meta(max_length=10_000)] | None = None


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(EmbeddingRequest)


class EmbeddingUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True, kw_only=True):
    """The embeddings, in the order of the inputs, as the model's endpoint sent them."""

    object: Literal["list"] = "list"
    data: msgspec.Raw
    model: str
    usage: EmbeddingUsage


_PASSED_ON = ("input", "dimensions", "encoding_format")
_FIELDS = frozenset(EmbeddingRequest.__struct_fields__)


async def create(request: HttpRequest) -> HttpResponseBase:
    """Return embeddings."""
    key = await authenticate(request, ApiKey.Scope.CHAT)
    asked, extras = await _parsed(request)
    model = await database_sync_to_async(_model)(key, asked.model, extras)
    parameters = {name: value for name in _PASSED_ON if (value := getattr(asked, name)) is not None}
    if model.endpoint.extra_parameters == Endpoint.ExtraParameters.PASS:
        parameters = {**extras, **parameters}
    try:
        found = await embed(current_runtime().runner, key, model, parameters, _inputs(asked.input))
    except Exception as exc:
        raise _failure(exc, model) from exc
    tokens = found.usage.prompt_tokens or 0 if found.usage is not None else 0
    return json_response(
        EmbeddingList(data=found.data, model=model.name, usage=EmbeddingUsage(tokens, tokens))
    )


async def _parsed(request: HttpRequest) -> tuple[EmbeddingRequest, dict[str, Any]]:
    body: bytes = request.read(settings.API_BODY_MAX_BYTES + 1)
    if len(body) > settings.API_BODY_MAX_BYTES:
        raise ApiError(
            "request_too_large",
            _("The request body is larger than %(limit)s bytes. Send fewer texts.")
            % {"limit": settings.API_BODY_MAX_BYTES},
        )
    try:
        return await asyncio.to_thread(_parse, body)
    except InvalidBody as exc:
        raise ApiError(exc.code, _(exc.message) % exc.values, param=exc.param) from exc


def _parse(body: bytes) -> tuple[EmbeddingRequest, dict[str, Any]]:
    raw = json_body.decode(body)
    extras = extras_of(raw, _FIELDS)
    asked = json_body.convert(raw, EmbeddingRequest)
    _check_input(asked.input)
    json_body.check_size(extras, "input")
    return asked, extras


def _check_input(value: str | list[Any]) -> None:
    if isinstance(value, str) or (value and all(type(each) is int for each in value)):
        return
    if not value or len(value) > INPUTS_MAX:
        raise InvalidBody(
            "invalid_value", "“input” must have 1 to %(limit)s texts.", {"limit": INPUTS_MAX}, "input"
        )
    for number, each in enumerate(value):
        is_tokens = isinstance(each, list) and each and all(type(token) is int for token in each)
        if not isinstance(each, str) and not is_tokens:
            place = f"input[{number}]"
            raise InvalidBody(
                "invalid_value", "%(place)s: Expected a text or a list of token ids.", {"place": place}, place
            )


def _inputs(value: str | list[Any]) -> int:
    return 1 if isinstance(value, str) or isinstance(value[0], int) else len(value)


def _model(key: ApiKey, name: str, extras: dict[str, Any]) -> Model:
    """Return the model. Raises ApiError, and RequestRefused if the key made too many requests."""
    model = Model.objects.find(name)
    if model is None:
        raise unknown_model(name, "model")
    if extras and model.endpoint.extra_parameters == Endpoint.ExtraParameters.REFUSE:
        raise ApiError(
            "unknown_parameter", _("Unknown parameter “%(name)s”.") % {"name": min(extras)}, param=min(extras)
        )
    window = timezone.now() - timedelta(minutes=1)
    limit = settings.ASKS_PER_MINUTE_PER_KEY
    if EmbeddingCall.objects.filter(api_key=key, created_at__gt=window).count() >= limit:
        raise RequestRefused(
            "too_many_asks",
            _("This key has reached its limit of %(limit)s requests per minute.") % {"limit": limit},
            retry_after_s=60.0,
        )
    return model


def _failure(exc: Exception, model: Model) -> Exception:
    failed = routing.failure_of(exc, model)
    if failed is None:
        return exc
    return ApiError(
        failed.code, failed.message, param=failed.param or None, retry_after_s=failed.retry_after_s
    )
