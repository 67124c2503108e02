"""From the bytes of a request to its options and items; without Django, for the child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chat.api import json_body, tools
from chat.api.invalid_body import InvalidBody
from chat.api.responses import schemas as wire
from chat.api.responses.input import Items, as_items
from chat.text import clean_json

_OPTIONS = frozenset(wire.ResponseOptions.__struct_fields__)
_FIELDS = _OPTIONS | {"input"}


@dataclass(frozen=True, slots=True)
class ParsedResponseBody:
    """A valid body but for its items, which are as they were sent, with cleaned texts."""

    options: wire.ResponseOptions
    items: Items


@dataclass(frozen=True, slots=True)
class ParsedFrame:
    """A valid frame of a socket. `is_generated`: whether an answer is wanted."""

    body: ParsedResponseBody
    is_generated: bool


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def parse(body: bytes) -> ParsedResponseBody:
    """Return a body as structs. Raises InvalidBody."""
    raw = json_body.decode(body)
    return parse_values(clean_json(raw) if json_body.may_need_cleaning(body) else raw)


def parse_values(raw: dict[str, Any]) -> ParsedResponseBody:
    """Return the decoded values of a body as structs. Raises InvalidBody."""
    for name in raw:
        if name not in _FIELDS:
            raise json_body.unknown(name)
    _check_supported(raw)
    request = json_body.convert(raw, wire.ResponsesRequest)
    _check_include(request.include or [])
    _check_tools(raw)
    response_format(request)
    _check_combinations(request)
    values = {name: getattr(request, name) for name in _OPTIONS}
    json_body.check_size(values, "input")
    return ParsedResponseBody(wire.ResponseOptions(**values), as_items(request.input or []))


def parse_frame(data: bytes) -> ParsedFrame:
    """Return a frame of a socket as structs. Raises InvalidBody."""
    raw = json_body.decode(data)
    if json_body.may_need_cleaning(data):
        raw = clean_json(raw)
    if raw.pop("type", None) != "response.create":
        raise InvalidBody(
            "unsupported_parameter", _("The only frame that is supported is “response.create”."), {}, "type"
        )
    if raw.pop("background", None):
        raise _invalid("background", _("%(place)s: A response over a socket cannot be in the background."))
    is_generated = raw.pop("generate", None)
    if not isinstance(is_generated, bool | None):
        raise _invalid("generate", _("%(place)s: Expected true or false."))
    # Every response over a socket is streamed.
    raw.pop("stream", None)
    return ParsedFrame(parse_values(raw), is_generated is not False)


def parameters_of(options: wire.ResponseOptions) -> dict[str, Any]:
    """Return the parameters of the chat completion that is asked for."""
    text, reasoning = options.text, options.reasoning
    values: dict[str, Any] = {
        "max_tokens": options.max_output_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "service_tier": options.service_tier,
        "prompt_cache_key": options.prompt_cache_key,
        "response_format": response_format(options),
        "verbosity": text.verbosity if text is not None else None,
        "reasoning_effort": reasoning.effort if reasoning is not None else None,
    }
    if options.tools:
        values["tools"] = [_nested(tool) for tool in options.tools]
        values["tool_choice"] = nested_choice(options.tool_choice)
        values["parallel_tool_calls"] = options.parallel_tool_calls
    return {name: value for name, value in values.items() if value is not None}


def response_format(options: wire.ResponseOptions) -> dict[str, Any] | None:
    """Return `text.format` as chat completions have it; None if plain text is wanted. Raises InvalidBody."""
    form = options.text.format if options.text is not None else None
    if form is None:
        return None
    match form.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            if not isinstance(form.get("name"), str) or not isinstance(form.get("schema"), dict):
                raise _invalid("text.format", _("%(place)s: Expected a “name” and a “schema”."))
            names = ("name", "description", "schema", "strict")
            schema = {name: form[name] for name in names if form.get(name) is not None}
            return {"type": "json_schema", "json_schema": schema}
    raise _invalid("text.format.type", _("%(place)s: Expected “text”, “json_object” or “json_schema”."))


def nested_choice(choice: Any) -> Any:
    """Return a choice among tools as chat completions have it."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools":
        offered = choice.get("tools")
        nested = [_nested_name(tool) for tool in offered] if isinstance(offered, list) else offered
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": nested}}
    return choice


def _nested_name(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") == "function":
        return {"type": "function", "function": {"name": tool.get("name")}}
    return tool


def _nested(tool: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "description", "parameters", "strict")
    return {
        "type": "function",
        "function": {name: tool[name] for name in names if tool.get(name) is not None},
    }


def _check_tools(raw: dict[str, Any]) -> None:
    """Check tools as those of chat completions are checked; errors name the flat places of this API."""
    offered = raw.get("tools")
    nested = [
        _nested(tool) if isinstance(tool, dict) and tool.get("type") == "function" else tool
        for tool in offered or ()
    ]
    try:
        tools.check(nested, nested_choice(raw.get("tool_choice")))
    except InvalidBody as exc:
        places = {"place": _flat(exc.values["place"])} if "place" in exc.values else {}
        param = exc.param and _flat(exc.param)
        raise InvalidBody(exc.code, exc.message, exc.values | places, param) from exc


def _flat(place: str) -> str:
    return place.replace(".function", "").replace("tool_choice.allowed_tools", "tool_choice")


def _check_supported(raw: dict[str, Any]) -> None:
    for name, instead in wire.UNSUPPORTED_INSTEAD.items():
        if raw.get(name) is not None:
            raise InvalidBody(
                "unsupported_parameter",
                _("“%(name)s” is not supported. %(instead)s"),
                {"name": name, "instead": instead or _("Remove it.")},
                name,
            )
    if raw.get("top_logprobs") not in (None, 0):
        raise InvalidBody(
            "unsupported_parameter",
            _("“top_logprobs” is not supported here. Use “logprobs” of chat completions."),
            {},
            "top_logprobs",
        )


def _check_include(include: list[str]) -> None:
    for number, name in enumerate(include):
        if name not in wire.INCLUDE_NEUTRAL:
            raise InvalidBody(
                "unsupported_parameter",
                _("%(place)s: “%(name)s” cannot be included."),
                {"place": f"include[{number}]", "name": name[:80]},
                f"include[{number}]",
            )


def _check_combinations(request: wire.ResponsesRequest) -> None:
    if request.input is None or (request.input == [] and request.previous_response_id is None):
        raise _invalid("input", _("%(place)s: Expected a text, or at least one item."))
    if request.background and request.store is False:
        raise _invalid(
            "store", _("%(place)s: A background response has to be stored: its answer is read later.")
        )
    if request.callback_url is not None and not request.background:
        raise _invalid("callback_url", _("%(place)s can be used only with “background”."))


def _invalid(place: str, message: str) -> InvalidBody:
    return InvalidBody("invalid_value", message, {"place": place}, place)
