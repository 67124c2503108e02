"""Completion requests: received, and stored as generations."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

import msgspec
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.api import attached, bodies
from chat.api import schemas as wire
from chat.api.attached import ReceivedFiles
from chat.api.bodies import ReceivedBody
from chat.api.errors import ApiError, unknown_model
from chat.generation.concurrency import key_group
from chat.generation.start import start
from chat.models import ApiKey, Conversation, Endpoint, Generation, Model, WebhookEndpoint
from chat.models.api_request import ApiRequest
from chat.models.attachment import Attachment
from chat.models.generation import StartedGeneration
from chat.models.large_request import StoredMessages
from chat.runtime.process import current_runtime

IDEMPOTENCY_KEY_MAX_CHARS = 255


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A valid completion request."""

    body: ReceivedBody
    idempotency_key: str
    # How long the client waits for the answer.
    patience_s: float = inf
    # The ids of the attachments that its messages refer to, by reference.
    attachments: dict[str, str] = field(default_factory=dict)

    @property
    def options(self) -> wire.CompletionOptions:
        return self.body.options

    @property
    def outlives_connection(self) -> bool:
        """Whether the generation continues after the client disconnects, which can return for it."""
        return bool(self.options.background or self.idempotency_key)

    def store(self, key: ApiKey) -> StartedGeneration:
        """Store the request as a generation, in a transaction of the writer.

        Raises RequestRefused and ApiError.
        """
        request = ApiRequest(
            self.body.messages,
            parameters_of(self.options),
            large=self.body.large,
            extras=self.body.extras,
            attachments=self.attachments,
        )
        return store(key, self.options, request, self.body.stored, self.idempotency_key)


class OptionsOfRequest(Protocol):
    """The parameters that name rows: models, fallbacks and a webhook endpoint."""

    @property
    def model(self) -> str: ...
    @property
    def fallbacks(self) -> list[str] | None: ...
    @property
    def callback_url(self) -> str | None: ...


def store(
    key: ApiKey,
    options: OptionsOfRequest,
    request: ApiRequest,
    messages: StoredMessages | None,
    idempotency_key: str,
) -> StartedGeneration:
    """Store a request, in a transaction of the writer. `messages`: those of a large request.

    Raises RequestRefused and ApiError.
    """
    model = find_model(options.model, "model")
    if request.has_tools and not model.takes_tools:
        raise _no_tools(model)
    if request.extras and model.endpoint.extra_parameters == Endpoint.ExtraParameters.REFUSE:
        raise _unknown_parameter(min(request.extras), model)
    if options.fallbacks is not None:
        fallbacks = [_fallback(name, model).pk for name in options.fallbacks]
        request = msgspec.structs.replace(request, fallbacks=fallbacks)
    started = Conversation.ask_once(
        key.user,
        request,
        model=model,
        client_id=_client_id(key, idempotency_key),
        source=Generation.Source.API,
        api_key=key,
        webhook_endpoint=_webhook_endpoint(options.callback_url),
        messages=messages,
    )
    if request.attachments and not started.is_repeat:
        Attachment.attach_to_request(started.user_message_id, key.user, request.attachments.values())
    return started


def _client_id(key: ApiKey, idempotency_key: str) -> str:
    if not idempotency_key:
        return f"api-{uuid.uuid4().hex}"
    return "key-" + hashlib.sha256(f"{key.pk}:{idempotency_key}".encode()).hexdigest()[:56]


async def begin(
    key: ApiKey,
    operation: Callable[[], StartedGeneration],
    patience_s: float,
    stored: StoredMessages | None,
) -> StartedGeneration:
    """Store a request with `operation` and start its generation.

    `stored`: the messages of a large request, which are deleted if no generation is created for them.
    """
    started = None
    runner = current_runtime().runner
    key.patience_s, key.answer_s = patience_s, runner.gate.average_s(key_group(key.pk))
    try:
        started = await start(runner, key.user, operation)
    finally:
        if stored is not None and (started is None or started.is_repeat):
            await bodies.discard(stored)
    return started


async def receive(request: HttpRequest, key: ApiKey) -> ReceivedRequest:
    """Return the completion request of an HTTP request. Raises as `bodies.receive`, and `invalid_file`."""
    idempotency_key = idempotency_key_of(request)
    body = await bodies.receive(request)
    attachments = await store_files(key, body.files, "messages", body.stored)
    patience_s = inf if body.options.background else patience_of(request)
    return ReceivedRequest(body, idempotency_key, patience_s, attachments)


async def store_files(
    key: ApiKey, files: ReceivedFiles, param: str, stored: StoredMessages | None
) -> dict[str, str]:
    """Store the files of a request; see `attached.store_files`. `stored`: discarded if one is refused."""
    try:
        return await attached.store_files(key, files, param)
    except BaseException:
        if stored is not None:
            await bodies.discard(stored)
        raise


def patience_of(request: HttpRequest) -> float:
    """Return how long a client waits for an answer. OpenAI's libraries say it; others are assumed to wait."""
    for header in ("x-stainless-read-timeout", "x-stainless-timeout"):
        with suppress(ValueError):
            patience_s = float(request.headers.get(header, ""))
            if 0 < patience_s < inf:
                return min(patience_s, settings.API_WAIT_MAX_S)
    return settings.API_WAIT_MAX_S


def idempotency_key_of(request: HttpRequest) -> str:
    """Return the Idempotency-Key of a request, empty if there is none. Raises ApiError."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > IDEMPOTENCY_KEY_MAX_CHARS:
        raise ApiError(
            "invalid_value",
            _("An Idempotency-Key can have at most %(limit)s characters.")
            % {"limit": IDEMPOTENCY_KEY_MAX_CHARS},
            param="Idempotency-Key",
        )
    return key


def parameters_of(options: wire.CompletionOptions) -> dict[str, Any]:
    """Return the parameters that a model is sent, by their names in the API."""
    values = {name: getattr(options, name) for name in wire.PASSED_ON}
    if not options.tools:
        values["tools"] = values["tool_choice"] = values["parallel_tool_calls"] = None
    if options.n == 1:
        values["n"] = None
    if options.modalities == ["text"]:
        values["modalities"] = None
    if not options.logprobs:
        values["logprobs"] = values["top_logprobs"] = None
    values["max_tokens"] = options.max_tokens or options.max_completion_tokens
    return {name: value for name, value in values.items() if value is not None}


def find_model(name: str, param: str) -> Model:
    """Return the model with this name. Raises ApiError `model_not_found`."""
    model = Model.objects.find(name)
    if model is None:
        raise unknown_model(name, param)
    return model


def _fallback(name: str, model: Model) -> Model:
    found = find_model(name, "fallbacks")
    if found.endpoint.confidentiality != model.endpoint.confidentiality:
        raise ApiError(
            "fallback_not_allowed",
            _(
                "“%(name)s” has a different confidentiality class than “%(model)s” and cannot be a fallback "
                "for it."
            )
            % {"name": name, "model": model.name},
            param="fallbacks",
        )
    return found


def _unknown_parameter(name: str, model: Model) -> ApiError:
    return ApiError(
        "unknown_parameter",
        _("Unknown parameter “%(name)s”. The endpoint of “%(model)s” accepts only the documented ones.")
        % {"name": name[:60], "model": model.name},
        param=name[:60],
    )


def _no_tools(model: Model) -> ApiError:
    return ApiError(
        "unsupported_parameter",
        _("The model “%(name)s” does not take tools. Choose another model, or remove “tools”.")
        % {"name": model.name},
        param="tools",
    )


def _webhook_endpoint(url: str | None) -> WebhookEndpoint | None:
    if url is None:
        return None
    found = WebhookEndpoint.objects.filter(url=url, is_enabled=True).first()
    if found is None:
        raise ApiError(
            "callback_not_allowed",
            _("Webhooks to this URL are not allowed. Ask an administrator of this site to add the endpoint."),
            param="callback_url",
        )
    return found
