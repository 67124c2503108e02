"""Reading of tool calls, whatever form a server sends them in, as the pieces of our events.

OpenAI sends `index` with each piece, and `id` and name with the first. Other servers leave out the index or
the id, use one index for all calls, send the name late, or send all arguments in one piece or as an object.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chat.events import ToolCall
from chat.text import clean
from chat.upstream.errors import Malformed

# More than any model calls at once.
CALLS_MAX = 512


def new_id() -> str:
    """Return the id of a call whose server sent none, in the usual form."""
    return f"call_{secrets.token_hex(12)}"


@dataclass(slots=True)
class _Call:
    """One call; nothing of it is passed on before its name is known."""

    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    is_passed_on: bool = False

    @property
    def has_arguments(self) -> bool:
        return any(map(str.strip, self.arguments))

    @property
    def has_whole_arguments(self) -> bool:
        try:
            json.loads("".join(self.arguments))
        except ValueError:
            return False
        return True


class ToolCallReader:
    """Turns the `tool_calls` fields of one answer into `ToolCall` events."""

    def __init__(self, make_id: Callable[[], str] = new_id) -> None:
        self._make_id = make_id
        self._calls: list[_Call] = []
        # The newest call under an index of the server.
        self._by_index: dict[int, _Call] = {}

    @property
    def has_calls(self) -> bool:
        return any(call.is_passed_on for call in self._calls)

    @property
    def is_whole(self) -> bool:
        """Whether each call has a name and arguments that are JSON, or none."""
        return all(
            call.is_passed_on and (call.has_whole_arguments or not call.has_arguments) for call in self._calls
        )

    def feed(self, value: Any) -> list[ToolCall]:
        """Return the pieces in a `tool_calls` field. Raises Malformed."""
        entries = [value] if isinstance(value, dict) else value
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Malformed(f"tool_calls: {repr(value)[:200]}")
        pieces = (self._piece_of(entry, position) for position, entry in enumerate(entries))
        return [piece for piece in pieces if piece is not None]

    def end(self) -> list[ToolCall]:
        """Return what completes the calls of a complete answer: calls without arguments have an empty object.

        Raises Malformed if a call has no name.
        """
        if not all(call.is_passed_on for call in self._calls):
            raise Malformed("a tool call without a name")
        return [ToolCall(call.index, arguments="{}") for call in self._calls if not call.has_arguments]

    def _piece_of(self, entry: dict[str, Any], position: int) -> ToolCall | None:
        function = entry.get("function")
        if not isinstance(function, dict):
            function = entry
        name, arguments = _text_of(function.get("name")), _arguments_of(function.get("arguments"))
        server_id = _text_of(entry.get("id"))
        call = self._call_of(entry.get("index"), server_id, name, position)
        if not call.is_passed_on:
            call.id, call.name = call.id or server_id, call.name or name
        if arguments:
            call.arguments.append(arguments)
        if call.is_passed_on:
            return ToolCall(call.index, arguments=arguments) if arguments else None
        if not call.name:
            return None
        call.is_passed_on = True
        is_taken = any(other.id == call.id for other in self._calls if other is not call)
        if not call.id or is_taken:
            call.id = self._make_id()
        return ToolCall(call.index, call.id, call.name, "".join(call.arguments))

    def _call_of(self, index: Any, server_id: str, name: str, position: int) -> _Call:
        """Return the call that an entry belongs to."""
        if isinstance(index, int):
            known = self._by_index.get(index)
            is_other = known is not None and name and server_id and known.id and known.id != server_id
            return known if known is not None and not is_other else self._begin(index)
        with_id = next((call for call in self._calls if server_id and call.id == server_id), None)
        if with_id is not None:
            return with_id
        known = self._calls[-1] if self._calls and position == 0 else self._by_index.get(position)
        if known is None:
            return self._begin(len(self._calls))
        has_other_id = bool(server_id and known.is_passed_on)
        has_other_name = bool(name and known.name and name != known.name)
        is_other = has_other_name or (bool(name) and has_other_id)
        if is_other or ((name or has_other_id) and known.has_whole_arguments):
            return self._begin(len(self._calls))
        return known

    def _begin(self, server_index: int) -> _Call:
        if len(self._calls) >= CALLS_MAX:
            raise Malformed(f"more than {CALLS_MAX} tool calls")
        call = _Call(len(self._calls))
        self._calls.append(call)
        self._by_index[server_index] = call
        return call


def _text_of(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""


def _arguments_of(value: Any) -> str:
    """Return arguments as a text; some servers send them as the JSON value that they are."""
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
