"""From the bytes of a completion request to a validated struct."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from django.utils.translation import gettext as _

from chat.api import schemas as wire
from chat.api.errors import ApiError

# No JSON schema that people write is nested deeper.
DEPTH_MAX = 64
_FIELDS = frozenset(wire.CompletionRequest.__struct_fields__)
# Where a value is, in msgspec's messages: ` - at `$.messages[0].role``.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<place>.*)`)?$", re.DOTALL)


def parse(body: bytes) -> tuple[dict[str, Any], wire.CompletionRequest]:
    """Return a body as it is, and what we read of it. Raises ApiError: the codes of status 400."""
    raw = _json(body)
    _check_names(raw)
    try:
        request = msgspec.convert(raw, wire.CompletionRequest)
    except msgspec.ValidationError as exc:
        raise _invalid(str(exc)) from exc
    _check_combinations(request)
    return raw, request


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as exc:
        raise ApiError(
            "malformed_request",
            _("The request body is not valid JSON: %(why)s.") % {"why": str(exc) or "nested too deeply"},
        ) from exc
    if not isinstance(value, dict):
        raise ApiError(
            "malformed_request", _("The request body must be a JSON object with “model” and “messages”.")
        )
    if _is_deep(value):
        raise ApiError(
            "malformed_request",
            _("The request body is nested deeper than %(limit)s levels.") % {"limit": DEPTH_MAX},
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
                _("Unknown parameter “%(name)s”. Remove it, or see /v1/openapi.json.") % {"name": shown},
                param=shown,
            )
    for name, neutral in wire.UNSUPPORTED.items():
        value = raw.get(name)
        if value is not None and not any(type(value) is type(each) and value == each for each in neutral):
            raise ApiError(
                "unsupported_parameter",
                _("“%(name)s” is not supported with this value. Remove it.") % {"name": name},
                param=name,
            )


def _invalid(message: str) -> ApiError:
    match = _PLACE.match(message)
    assert match is not None
    place = match["place"] or None
    if place:
        return ApiError(
            "invalid_value", _("%(place)s: %(what)s.") % {"place": place, "what": match["what"]}, param=place
        )
    return ApiError("invalid_value", f"{match['what']}.")


def _check_combinations(request: wire.CompletionRequest) -> None:
    if request.background and request.stream:
        raise ApiError(
            "invalid_value",
            _("Use either “stream” or “background”. A background answer streams at …/events."),
            param="background",
        )
    if request.callback_url is not None and not request.background:
        raise ApiError(
            "invalid_value", _("“callback_url” is only for requests with “background”."), param="callback_url"
        )
    if request.max_tokens and request.max_completion_tokens:
        raise ApiError(
            "invalid_value",
            _("Use either “max_tokens” or “max_completion_tokens”: both mean the same."),
            param="max_tokens",
        )
