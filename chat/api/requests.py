"""Completion requests: received, and stored as generations."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.api import bodies
from chat.api import schemas as wire
from chat.api.bodies import ReceivedBody
from chat.api.errors import ApiError, unknown_model
from chat.models import ApiKey, Conversation, Generation, Model, WebhookEndpoint
from chat.models.api_request import ApiRequest
from chat.models.started_generation import StartedGeneration

IDEMPOTENCY_KEY_MAX_CHARS = 255


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A valid completion request."""

    body: ReceivedBody
    idempotency_key: str

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
        model = _model(self.options.model, "model")
        fallbacks = self.options.fallbacks
        return Conversation.ask_once(
            key.user,
            ApiRequest(
                self.body.messages,
                _parameters(self.options),
                None if fallbacks is None else [_fallback(name, model).pk for name in fallbacks],
                self.body.large,
            ),
            model=model,
            client_id=self._client_id(key),
            source=Generation.Source.API,
            api_key=key,
            webhook_endpoint=_webhook_endpoint(self.options.callback_url),
            messages=self.body.stored,
        )

    def _client_id(self, key: ApiKey) -> str:
        if not self.idempotency_key:
            return f"api-{uuid.uuid4().hex}"
        return "key-" + hashlib.sha256(f"{key.pk}:{self.idempotency_key}".encode()).hexdigest()[:56]


async def receive(request: HttpRequest) -> ReceivedRequest:
    """Return the completion request of an HTTP request. Raises as `bodies.receive`."""
    idempotency_key = _idempotency_key(request)
    return ReceivedRequest(await bodies.receive(request), idempotency_key)


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > IDEMPOTENCY_KEY_MAX_CHARS:
        raise ApiError(
            "invalid_value",
            _("An Idempotency-Key can have at most %(limit)s characters.")
            % {"limit": IDEMPOTENCY_KEY_MAX_CHARS},
            param="Idempotency-Key",
        )
    return key


def _parameters(options: wire.CompletionOptions) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in wire.PASSED_ON}
    values["max_tokens"] = options.max_tokens or options.max_completion_tokens
    return {name: value for name, value in values.items() if value is not None}


def _model(name: str, param: str) -> Model:
    model = Model.objects.find(name)
    if model is None:
        raise unknown_model(name, param)
    return model


def _fallback(name: str, model: Model) -> Model:
    found = _model(name, "fallbacks")
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
