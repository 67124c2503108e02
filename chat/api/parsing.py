"""From the bytes of a completion request to validated structs; without Django, for the child process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from chat.api import schemas as wire
from chat.text import clean_json

# No JSON schema in use is nested deeper.
DEPTH_MAX = 64
# Values of lists and objects. The largest number of messages has room for 25 values in each.
VALUES_MAX = 250_000
# Everything but the messages. It is stored in one row.
OPTIONS_MAX_BYTES = 256 * 1024

_OPTIONS = frozenset(wire.CompletionOptions.__struct_fields__)
_FIELDS = _OPTIONS | {"messages"}
# Where a value is, in msgspec's messages: ` - at `$.messages[0].role``.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<place>.*)`)?$", re.DOTALL)
# Strings are matched so that what is in them does not count.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]', re.DOTALL)
_OPENING, _CLOSING, _COMMA = b"[{", b"]}", ord(",")
_MAY_NEED_CLEANING = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class InvalidBody(Exception):
    """A body that is not a valid request. `message % values` is the text of the error."""

    def __init__(self, code: str, message: str, values: dict[str, Any], param: str | None = None) -> None:
        super().__init__(message % values)
        self.code = code
        self.message = message
        self.values = values
        self.param = param


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """A valid body. `messages` are unchanged, except that their texts are cleaned."""

    options: wire.CompletionOptions
    messages: list[dict[str, Any]]


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def value_count(body: bytes) -> int:
    """Return an upper bound of the number of values in a JSON text, without parsing it."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def parse(body: bytes) -> ParsedBody:
    """Return a body as structs. Raises InvalidBody."""
    _check_structure(body)
    raw = _decode(body)
    _check_names(raw)
    request = _convert(raw)
    _check_combinations(request)
    options = {name: getattr(request, name) for name in _OPTIONS}
    if len(msgspec.json.encode(options)) > OPTIONS_MAX_BYTES:
        raise InvalidBody(
            "invalid_value",
            _("The parameters other than “messages” are larger than %(limit)s bytes."),
            {"limit": OPTIONS_MAX_BYTES},
        )
    messages = raw["messages"]
    if _MAY_NEED_CLEANING.search(body):
        messages = clean_json(messages)
        options |= clean_json({name: options[name] for name in wire.PASSED_ON})
    return ParsedBody(wire.CompletionOptions(**options), messages)


def _check_structure(body: bytes) -> None:
    """Reject bodies that would become too many objects, or too deep ones, before anything is decoded."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= DEPTH_MAX and value_count(body) <= VALUES_MAX:
        return
    values = depth = 0
    for token in _TOKEN.finditer(body):
        character = body[token.start()]
        if character in _OPENING:
            values, depth = values + 1, depth + 1
        elif character in _CLOSING:
            depth -= 1
        elif character == _COMMA:
            values += 1
        if values > VALUES_MAX:
            raise InvalidBody(
                "malformed_request",
                _("The request body has more than %(limit)s values. Send fewer, or combine small ones."),
                {"limit": VALUES_MAX},
            )
        if depth > DEPTH_MAX:
            raise InvalidBody(
                "malformed_request",
                _("The request body is nested deeper than %(limit)s levels."),
                {"limit": DEPTH_MAX},
            )


def _decode(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as exc:
        raise InvalidBody(
            "malformed_request", _("The request body is not valid JSON: %(why)s."), {"why": str(exc)}
        ) from exc
    if not isinstance(value, dict):
        raise InvalidBody(
            "malformed_request", _("The request body must be a JSON object with “model” and “messages”."), {}
        )
    return value


def _check_names(raw: dict[str, Any]) -> None:
    for name in raw:
        if name not in _FIELDS:
            raise InvalidBody(
                "unknown_parameter",
                _("Unknown parameter “%(name)s”. Remove it, or see /v1/openapi.json."),
                {"name": name[:60]},
                name[:60],
            )
    for name, neutral in wire.UNSUPPORTED.items():
        value = raw.get(name)
        if value is not None and not any(type(value) is type(each) and value == each for each in neutral):
            raise InvalidBody(
                "unsupported_parameter",
                _("“%(name)s” is not supported with this value. Remove it."),
                {"name": name},
                name,
            )


def _convert(raw: dict[str, Any]) -> wire.CompletionRequest:
    try:
        return msgspec.convert(raw, wire.CompletionRequest)
    except msgspec.ValidationError as exc:
        match = _PLACE.match(str(exc))
        assert match is not None
        place = match["place"] or None
        if place is None:
            raise InvalidBody("invalid_value", "%(what)s.", {"what": match["what"]}) from exc
        values = {"place": place, "what": match["what"]}
        raise InvalidBody("invalid_value", _("%(place)s: %(what)s."), values, place) from exc


def _check_combinations(options: wire.CompletionOptions) -> None:
    if options.background and options.stream:
        raise InvalidBody(
            "invalid_value",
            _("Use either “stream” or “background”. A background answer can be streamed from …/events."),
            {},
            "background",
        )
    if options.callback_url is not None and not options.background:
        raise InvalidBody(
            "invalid_value", _("“callback_url” can be used only with “background”."), {}, "callback_url"
        )
    if options.max_tokens and options.max_completion_tokens:
        raise InvalidBody(
            "invalid_value",
            _("Use either “max_tokens” or “max_completion_tokens”. They mean the same."),
            {},
            "max_tokens",
        )
