"""The answers of a capable model: it calls tools, writes JSON that fits a schema, obeys "reply exactly".

Everything follows from the request, so the same request has the same answer. What it knows nothing about it
answers with the usual text.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chat.fakeprovider.chat_request import ChatRequest

_EXACTLY = re.compile(r"\b(?:reply|respond|answer)(?: with)? exactly:? +[\"“]?(?P<word>\w+)", re.IGNORECASE)
_DEPTH_MAX = 20


@dataclass(frozen=True)
class ToolUse:
    """A call: the function's name, and its arguments as JSON."""

    name: str
    arguments: str


def calls_for(request: ChatRequest) -> list[ToolUse]:
    """Return the calls that answer a request; none if it is answered with text."""
    offered = {
        tool["function"]["name"]: tool["function"]
        for tool in request.body.get("tools") or ()
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    }
    choice = request.body.get("tool_choice")
    if not offered or choice == "none":
        return []
    called = _called_since_question(request.body["messages"])
    left = [name for name in offered if name not in called]
    if isinstance(choice, dict) and (named := (choice.get("function") or {}).get("name")):
        left = [named] if named in left else []
    elif choice == "required":
        left = left or list(offered)[-1:]
    wants_all = "parallel" in request.question and request.body.get("parallel_tool_calls") is not False
    return [
        ToolUse(name, json.dumps(_example(offered[name].get("parameters") or {}, name)))
        for name in (left if wants_all else left[:1])
    ]


def text_for(request: ChatRequest) -> str | None:
    """Return the text that answers a request; None for the usual text."""
    form = request.body.get("response_format") or {}
    if form.get("type") in ("json_object", "json_schema"):
        schema = (form.get("json_schema") or {}).get("schema")
        asked = _json_in(request.question)
        if isinstance(schema, dict) and not _has_fields(asked, schema.get("required") or ()):
            asked = _example(schema, "answer")
        return json.dumps({"answer": "42"} if asked is None else asked)
    if match := _EXACTLY.search(request.question):
        return match["word"]
    results = [
        str(message.get("content")) for message in request.body["messages"] if message.get("role") == "tool"
    ]
    return f"The result is: {'; '.join(results)}" if results else None


def _called_since_question(messages: list[dict[str, Any]]) -> set[str]:
    called: set[str] = set()
    for message in messages:
        if message.get("role") == "user":
            called = set()
        for call in message.get("tool_calls") or ():
            called.add(call["function"]["name"])
    return called


def _json_in(text: str) -> Any:
    """Return the first JSON object in a text, or None."""
    for found in re.finditer(r"\{", text):
        try:
            return json.JSONDecoder().raw_decode(text[found.start() :])[0]
        except ValueError:
            continue
    return None


def _has_fields(value: Any, names: Iterable[str]) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) == set(names)


def _example(schema: Any, name: str, root: Any = None, depth: int = 0) -> Any:
    """Return a value that fits a JSON schema, as far as schemas of programs go."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        return None
    if "$ref" in schema:
        target = root
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        return _example(target, name, root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _example(schema[key][0], name, root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, name, root, depth)


def _of_kind(kind: str, schema: dict[str, Any], name: str, root: Any, depth: int) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {key: _example(value, key, root, depth + 1) for key, value in properties.items()}
        case "array":
            count = max(1, int(schema.get("minItems", 1)))
            return [_example(schema.get("items") or {}, name, root, depth + 1) for _n in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 7)
        case "boolean":
            return True
        case "null":
            return None
    return f"a {name}".ljust(int(schema.get("minLength", 0)), ".")
