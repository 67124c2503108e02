"""The tools of a request: which ones are offered, and which of them the model is to call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chat.api.invalid_body import InvalidBody

# More than any agent offers; their definitions are sent with each request.
TOOLS_MAX = 128
MODES = ("none", "auto", "required")
# They mean nothing without tools, and some clients send them always.
_NEUTRAL = (None, "none", "auto")


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


def check(tools: Any, tool_choice: Any) -> None:
    """Check the tools that a request offers and its choice among them. Raises InvalidBody."""
    if not isinstance(tools, list | None):
        raise _invalid("tools", _("%(place)s: Expected a list."))
    if tools and len(tools) > TOOLS_MAX:
        raise InvalidBody(
            "invalid_value", _("A request can offer at most %(limit)s tools."), {"limit": TOOLS_MAX}, "tools"
        )
    names = {_name_of(tool, f"tools[{number}]") for number, tool in enumerate(tools or ())}
    if names:
        _check_choice(tool_choice, names)
    elif tool_choice not in _NEUTRAL:
        raise _invalid("tool_choice", _("%(place)s can be used only with “tools”."))


def _name_of(tool: Any, place: str) -> str:
    """Return the name of an offered function."""
    if not isinstance(tool, dict):
        raise _invalid(place, _("%(place)s: Expected an object."))
    kind = tool.get("type")
    if kind != "function":
        raise InvalidBody(
            "unsupported_parameter" if isinstance(kind, str) else "invalid_value",
            _("%(place)s: Only tools of the type “function” are supported."),
            {"place": f"{place}.type"},
            f"{place}.type",
        )
    function = tool.get("function")
    if not isinstance(function, dict):
        raise _invalid(f"{place}.function", _("%(place)s: Expected an object with a “name”."))
    if not isinstance(function.get("parameters"), dict | None):
        raise _invalid(f"{place}.function.parameters", _("%(place)s: Expected a JSON schema."))
    return _named(function, f"{place}.function")


def _named(function: dict[str, Any], place: str) -> str:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise _invalid(f"{place}.name", _("%(place)s: Expected the name of a function."))
    return name


def _check_choice(choice: Any, names: set[str]) -> None:
    if choice is None or (isinstance(choice, str) and choice in MODES):
        return
    for place, function in _chosen(choice):
        name = _named(function, place)
        if name not in names:
            raise InvalidBody(
                "invalid_value",
                _("%(place)s: The function “%(name)s” is not among the “tools”."),
                {"place": f"{place}.name", "name": name[:80]},
                f"{place}.name",
            )


def _chosen(choice: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the functions that a choice names, each with its place. Raises InvalidBody."""
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function" and isinstance(choice.get("function"), dict):
        yield "tool_choice.function", choice["function"]
        return
    allowed = choice.get("allowed_tools") if kind == "allowed_tools" else None
    if not isinstance(allowed, dict) or allowed.get("mode") not in ("auto", "required"):
        raise _invalid(
            "tool_choice",
            _("%(place)s: Expected “none”, “auto”, “required”, a function, or “allowed_tools”."),
        )
    tools = allowed.get("tools")
    if not isinstance(tools, list) or not tools:
        raise _invalid("tool_choice.allowed_tools.tools", _("%(place)s: Expected a list of functions."))
    for number, tool in enumerate(tools):
        place = f"tool_choice.allowed_tools.tools[{number}]"
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            raise _invalid(place, _("%(place)s: Expected a function."))
        yield f"{place}.function", function


def _invalid(place: str, message: str) -> InvalidBody:
    return InvalidBody("invalid_value", message, {"place": place}, place)
