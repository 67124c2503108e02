"""From the bytes of a request for an answer to what the verbs take."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.api import schemas as wire
from chat.api.auth import body_of
from chat.api.errors import ApiError
from chat.models import ApiKey, Conversation, Generation, Model, WebhookEndpoint
from chat.models.api_request import ApiRequest
from chat.models.started_generation import StartedGeneration

# Deeper than any schema that people write.
DEPTH_MAX = 64
IDEMPOTENCY_KEY_MAX_CHARS = 255
_FIELDS = frozenset(wire.CompletionRequest.__struct_fields__)
# ` - at `$.messages[0].role``, as msgspec says where something is.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<place>.*)`)?$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for an answer that makes sense in itself. `messages` are as they were sent."""

    request: wire.CompletionRequest
    messages: list[dict[str, Any]]
    idempotency_key: str

    @property
    def runs_on(self) -> bool:
        """Whether its answer goes on without anybody on the line, who can come back for it."""
        return bool(self.request.background or self.idempotency_key)

    def begin(self, key: ApiKey) -> StartedGeneration:
        """Store it; runs in one of the writer's transactions. Raises RequestRefused, ApiError."""
        model = _model(self.request.model, "model")
        fallbacks = self.request.fallbacks
        return Conversation.ask_once(
            key.user,
            ApiRequest(
                self.messages,
                _parameters(self.request),
                None if fallbacks is None else [_fallback(name, model).pk for name in fallbacks],
            ),
            model=model,
            client_id=self._client_id(key),
            source=Generation.Source.API,
            api_key=key,
            webhook_endpoint=_webhook_endpoint(self.request.callback_url),
        )

    def _client_id(self, key: ApiKey) -> str:
        if not self.idempotency_key:
            return f"api-{uuid.uuid4().hex}"
        return "key-" + hashlib.sha256(f"{key.pk}:{self.idempotency_key}".encode()).hexdigest()[:56]


def read(request: HttpRequest) -> Asked:
    """Return what a request asks. Raises ApiError: every 400, and `request_too_large`."""
    raw = _json(body_of(request))
    _check_names(raw)
    try:
        asked = msgspec.convert(raw, wire.CompletionRequest)
    except msgspec.ValidationError as exc:
        raise _invalid(str(exc)) from exc
    _check_what_is_asked(asked)
    return Asked(asked, raw["messages"], _idempotency_key(request))


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as exc:
        raise ApiError(
            "malformed_request",
            _("The body is not JSON that can be read: %(why)s.") % {"why": str(exc) or "too deep"},
        ) from exc
    if not isinstance(value, dict):
        raise ApiError("malformed_request", _("The body is a JSON object with “model” and “messages”."))
    if _is_deep(value):
        raise ApiError(
            "malformed_request", _("The body is nested deeper than %(limit)s levels.") % {"limit": DEPTH_MAX}
        )
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _depth in range(DEPTH_MAX):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _check_names(raw: dict[str, Any]) -> None:
    for name in raw:
        if name not in _FIELDS:
            shown = name[:60]
            raise ApiError(
                "unknown_parameter",
                _("There is no parameter “%(name)s”. Leave it out, or see /v1/openapi.json.")
                % {"name": shown},
                param=shown,
            )
    for name, neutral in wire.REFUSED.items():
        value = raw.get(name)
        if value is not None and not any(type(value) is type(each) and value == each for each in neutral):
            raise ApiError(
                "unsupported_parameter",
                _("“%(name)s” is not supported with this value: leave it out.") % {"name": name},
                param=name,
            )


def _invalid(said: str) -> ApiError:
    match = _PLACE.match(said)
    assert match is not None
    place = match["place"] or None
    if place:
        return ApiError(
            "invalid_value", _("%(place)s: %(what)s.") % {"place": place, "what": match["what"]}, param=place
        )
    return ApiError("invalid_value", f"{match['what']}.")


def _check_what_is_asked(asked: wire.CompletionRequest) -> None:
    if asked.background and asked.stream:
        raise ApiError(
            "invalid_value",
            _("Use either “stream” or “background”; a background answer streams at …/events."),
            param="background",
        )
    if asked.callback_url is not None and not asked.background:
        raise ApiError(
            "invalid_value", _("“callback_url” is for “background” requests."), param="callback_url"
        )
    if asked.max_tokens and asked.max_completion_tokens:
        raise ApiError(
            "invalid_value",
            _("Use either “max_tokens” or “max_completion_tokens”: they are the same."),
            param="max_tokens",
        )


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > IDEMPOTENCY_KEY_MAX_CHARS:
        raise ApiError(
            "invalid_value",
            _("An Idempotency-Key has at most %(limit)s characters.") % {"limit": IDEMPOTENCY_KEY_MAX_CHARS},
            param="Idempotency-Key",
        )
    return key


def _parameters(asked: wire.CompletionRequest) -> dict[str, Any]:
    values = {name: getattr(asked, name) for name in wire.PASSED_ON}
    values["max_tokens"] = asked.max_tokens or asked.max_completion_tokens
    return {name: value for name, value in values.items() if value is not None}


def _model(name: str, param: str) -> Model:
    model = Model.objects.find(name)
    if model is None:
        raise ApiError(
            "model_not_found",
            _("There is no model “%(name)s”. GET /v1/models lists those that can be used.")
            % {"name": name[:100]},
            param=param,
        )
    return model


def _fallback(name: str, model: Model) -> Model:
    found = _model(name, "fallbacks")
    if found.endpoint.confidentiality != model.endpoint.confidentiality:
        raise ApiError(
            "fallback_not_allowed",
            _("“%(name)s” has another confidentiality than “%(model)s”: requests must not go there.")
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
            _("Webhooks to this URL are not allowed. Ask the operators of this site to add the endpoint."),
            param="callback_url",
        )
    return found
