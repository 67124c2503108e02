"""From the bytes of a completion request to validated structs; without Django, for the child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chat.api import json_body, tools
from chat.api import schemas as wire
from chat.api.invalid_body import InvalidBody
from chat.api.parameters import extras_of
from chat.text import clean_json

_OPTIONS = frozenset(wire.CompletionOptions.__struct_fields__)
_FIELDS = _OPTIONS | {"messages"}


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """A valid body. `messages` are unchanged, except that their texts are cleaned.

    `extras`: parameters that are not known here.
    """

    options: wire.CompletionOptions
    messages: list[dict[str, Any]]
    extras: dict[str, Any]


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def parse(body: bytes) -> ParsedBody:
    """Return a body as structs. Raises InvalidBody."""
    raw = json_body.decode(body)
    extras = extras_of(raw, _FIELDS)
    raw = {name: value for name, value in raw.items() if name not in extras}
    _check_supported(raw)
    tools.check(raw.get("tools"), raw.get("tool_choice"))
    request = json_body.convert(raw, wire.CompletionRequest)
    _check_combinations(request)
    options = {name: getattr(request, name) for name in _OPTIONS}
    json_body.check_size(options | extras, "messages")
    messages = raw["messages"]
    if json_body.may_need_cleaning(body):
        messages = clean_json(messages)
        options |= clean_json({name: options[name] for name in wire.PASSED_ON})
        extras = clean_json(extras)
    return ParsedBody(wire.CompletionOptions(**options), messages, extras)


def _check_supported(raw: dict[str, Any]) -> None:
    for name, neutral in wire.UNSUPPORTED.items():
        value = raw.get(name)
        if value is not None and not any(type(value) is type(each) and value == each for each in neutral):
            raise InvalidBody(
                "unsupported_parameter",
                _("“%(name)s” is not supported with this value. %(instead)s"),
                {"name": name, "instead": wire.INSTEAD.get(name, _("Remove it."))},
                name,
            )


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
    _check_choices(options)
    limits = {options.max_tokens, options.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise InvalidBody(
            "invalid_value",
            _("“max_tokens” and “max_completion_tokens” mean the same. Use one of them, or the same value."),
            {},
            "max_tokens",
        )


def _check_choices(options: wire.CompletionOptions) -> None:
    """Check `n` and the log probabilities. An answer with them is not recovered if it is interrupted."""
    if options.top_logprobs and not options.logprobs:
        raise InvalidBody(
            "invalid_value", _("“top_logprobs” can be used only with “logprobs”: true."), {}, "top_logprobs"
        )
    used = "n" if (options.n or 1) > 1 else "logprobs" if options.logprobs else None
    if used is not None and options.background:
        raise InvalidBody(
            "unsupported_parameter",
            _(
                "“%(name)s” cannot be used with “background”: such an answer could not be recovered after an "
                "interruption. Send the request without “background”."
            ),
            {"name": used},
            used,
        )
