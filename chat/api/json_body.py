"""From the bytes of a body to validated structs; without Django, for the child process."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chat.api.invalid_body import InvalidBody

# No JSON schema in use is nested deeper.
DEPTH_MAX = 64
# Values of lists and objects. The largest number of messages has room for 25 values in each.
VALUES_MAX = 250_000
# Everything but the messages. It is stored in one row.
OPTIONS_MAX_BYTES = 256 * 1024

# Where a value is, in msgspec's messages: ` - at `$.messages[0].role``.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<place>.*)`)?$", re.DOTALL)
# Strings are matched so that what is in them does not count.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]', re.DOTALL)
_OPENING, _CLOSING, _COMMA = b"[{", b"]}", ord(",")
_MAY_NEED_CLEANING = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def value_count(body: bytes) -> int:
    """Return an upper bound of the number of values in a JSON text, without parsing it."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def may_need_cleaning(body: bytes) -> bool:
    """Return whether texts of a JSON text may have characters that databases and encoders reject."""
    return _MAY_NEED_CLEANING.search(body) is not None


def decode(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object of acceptable structure. Raises InvalidBody."""
    _check_structure(body)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as exc:
        raise InvalidBody(
            "malformed_request", _("The request body is not valid JSON: %(why)s."), {"why": str(exc)}
        ) from exc
    if not isinstance(value, dict):
        raise InvalidBody("malformed_request", _("The request body must be a JSON object."), {})
    return value


def convert[T](raw: Any, kind: type[T], at: str = "") -> T:
    """Return a value as a struct. `at`: where it is in the body. Raises InvalidBody."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        match = _PLACE.match(str(exc))
        assert match is not None
        place = ".".join(filter(None, [at, match["place"]])).replace(".[", "[") or None
        if place is None:
            raise InvalidBody("invalid_value", "%(what)s.", {"what": match["what"]}) from exc
        values = {"place": place, "what": match["what"]}
        raise InvalidBody("invalid_value", _("%(place)s: %(what)s."), values, place) from exc


def check_size(options: dict[str, Any], content: str) -> None:
    """Raise InvalidBody if the parameters other than `content` are too large to be stored in one row."""
    if len(msgspec.json.encode(options)) > OPTIONS_MAX_BYTES:
        raise InvalidBody(
            "invalid_value",
            _("The parameters other than “%(content)s” are larger than %(limit)s bytes."),
            {"content": content, "limit": OPTIONS_MAX_BYTES},
        )


def unknown(name: str) -> InvalidBody:
    """Return the error of a parameter that does not exist."""
    return InvalidBody(
        "unknown_parameter",
        _("Unknown parameter “%(name)s”. Remove it, or see /v1/openapi.json."),
        {"name": name[:60]},
        name[:60],
    )


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
