"""From the input of a request to the messages of a chat completion; without Django, for the child process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from chat.api.invalid_body import InvalidBody
from chat.api.json_body import convert

# What a model is sent for a picture that it made.
ANSWERED_WITH_PICTURE = "[You answered with a picture.]"

type Items = list[dict[str, Any]]


def _(text: str) -> str:
    """Mark a message for translation. It is translated where the error is sent."""
    return text


class InputMessage(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]


class InputFunctionCall(msgspec.Struct, frozen=True):
    call_id: str
    name: str
    arguments: str


class InputFunctionOutput(msgspec.Struct, frozen=True):
    call_id: str
    output: str | list[dict[str, Any]]


class InputTextPart(msgspec.Struct, frozen=True):
    text: str


class InputRefusalPart(msgspec.Struct, frozen=True):
    refusal: str


class InputImagePart(msgspec.Struct, frozen=True):
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None


class InputFilePart(msgspec.Struct, frozen=True):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None
    file_url: str | None = None


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(
    tuple[
        InputMessage,
        InputFunctionCall,
        InputFunctionOutput,
        InputTextPart,
        InputRefusalPart,
        InputImagePart,
        InputFilePart,
    ]
)


@dataclass(slots=True)
class ParsedInput:
    """The messages of an input.

    `unmatched`: the places and call ids of outputs whose call must be in an earlier response.
    `call_ids`: those of the function calls.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    call_ids: set[str] = field(default_factory=set)


def as_items(value: str | Items) -> Items:
    """Return an input as items; a text is a user message."""
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else value


def references_in(items: Items) -> dict[str, str]:
    """Return the ids that the items refer to, each with its place. Raises InvalidBody."""
    found = {}
    for number, item in enumerate(items):
        if _type_of(item, f"input[{number}]") == "item_reference":
            place = f"input[{number}].id"
            if not isinstance(item.get("id"), str):
                raise _invalid(place, _("%(place)s: Expected the id of an item."))
            found[item["id"]] = place
    return found


def to_messages(items: Items, referenced: Mapping[str, dict[str, Any]]) -> ParsedInput:
    """Return the messages that these items become. `referenced`: items by id. Raises InvalidBody."""
    reader = _Reader(referenced)
    for number, item in enumerate(items):
        reader.read(item, f"input[{number}]")
    return reader.parsed


def text_input(value: Any, place: str) -> str:
    """Return the text of a string or of text parts. Raises InvalidBody."""
    if isinstance(value, str):
        return value
    parts = [_text_part(part, f"{place}[{number}]") for number, part in enumerate(value)]
    return "".join(parts)


class _Reader:
    """Adds one item after another to the messages."""

    def __init__(self, referenced: Mapping[str, dict[str, Any]]) -> None:
        self._referenced = referenced
        self.parsed = ParsedInput()

    def read(self, item: Any, place: str) -> None:
        kind = _type_of(item, place)
        if kind == "item_reference":
            item = self._referenced.get(item["id"])
            if item is None:
                raise _no_item(f"{place}.id")
            kind = item["type"]
        read = self._readers().get(kind)
        if read is None:
            raise InvalidBody(
                "unsupported_parameter",
                _(
                    "%(place)s: Items of the type “%(kind)s” are not supported. Use messages, function calls "
                    "and their outputs."
                ),
                {"place": f"{place}.type", "kind": kind[:60]},
                f"{place}.type",
            )
        read(item, place)

    def _readers(self) -> dict[str, Callable[[dict[str, Any], str], None]]:
        return {
            "message": self._message,
            "function_call": self._call,
            "function_call_output": self._output,
            "image_generation_call": lambda _item, _place: self._picture(),
            # Providers of chat completions take no reasoning back.
            "reasoning": lambda _item, _place: None,
        }

    def _message(self, item: dict[str, Any], place: str) -> None:
        message = convert(item, InputMessage, place)
        content = message.content
        if not isinstance(content, str):
            content = _content(content, f"{place}.content")
        self.parsed.messages.append({"role": message.role, "content": content})

    def _picture(self) -> None:
        """Add words for a picture of an answer: providers of chat completions take none back."""
        self.parsed.messages.append({"role": "assistant", "content": ANSWERED_WITH_PICTURE})

    def _call(self, item: dict[str, Any], place: str) -> None:
        call = convert(item, InputFunctionCall, place)
        last = self.parsed.messages[-1] if self.parsed.messages else {}
        if last.get("role") != "assistant":
            last = {"role": "assistant", "content": None}
            self.parsed.messages.append(last)
        function = {"name": call.name, "arguments": call.arguments}
        last.setdefault("tool_calls", []).append(
            {"id": call.call_id, "type": "function", "function": function}
        )
        self.parsed.call_ids.add(call.call_id)

    def _output(self, item: dict[str, Any], place: str) -> None:
        output = convert(item, InputFunctionOutput, place)
        if output.call_id not in self.parsed.call_ids:
            self.parsed.unmatched.append((f"{place}.call_id", output.call_id))
        text = text_input(output.output, f"{place}.output")
        self.parsed.messages.append({"role": "tool", "tool_call_id": output.call_id, "content": text})


def check_calls(unmatched: Iterable[tuple[str, str]], call_ids: set[str]) -> None:
    """Raise InvalidBody if an output belongs to a call that no earlier response made."""
    for place, call_id in unmatched:
        if call_id not in call_ids:
            raise InvalidBody(
                "invalid_value",
                _("%(place)s: No earlier item is a function call with the id “%(id)s”."),
                {"place": place, "id": call_id[:80]},
                place,
            )


def _type_of(item: Any, place: str) -> str:
    if not isinstance(item, dict):
        raise _invalid(place, _("%(place)s: Expected an object."))
    kind = item.get("type", "message" if "role" in item else None)
    if not isinstance(kind, str):
        raise _invalid(f"{place}.type", _("%(place)s: Expected the type of the item."))
    return kind


def _content(parts: list[dict[str, Any]], place: str) -> str | list[dict[str, Any]]:
    """Return the content of a chat message; a single text is a string, which every provider takes."""
    content = [_part(part, f"{place}[{number}]") for number, part in enumerate(parts)]
    if len(content) == 1 and content[0]["type"] == "text":
        text: str = content[0]["text"]
        return text
    return content


def _part(part: dict[str, Any], place: str) -> dict[str, Any]:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": convert(part, InputTextPart, place).text}
        case "refusal":
            return {"type": "refusal", "refusal": convert(part, InputRefusalPart, place).refusal}
        case "input_image":
            return _image(convert(part, InputImagePart, place), place)
        case "input_file":
            return _file(convert(part, InputFilePart, place), place)
    raise _unsupported_part(part, place)


def _text_part(part: dict[str, Any], place: str) -> str:
    if part.get("type") not in ("input_text", "output_text", "text"):
        raise _unsupported_part(part, place)
    return convert(part, InputTextPart, place).text


def _image(image: InputImagePart, place: str) -> dict[str, Any]:
    if image.image_url is None and image.file_id is None:
        raise _invalid(
            f"{place}.image_url", _("%(place)s: Send an image as a “data:” URL, or the “file_id” of one.")
        )
    url: dict[str, Any] = {"file_id": image.file_id} if image.image_url is None else {"url": image.image_url}
    if image.detail is not None:
        url["detail"] = image.detail
    return {"type": "image_url", "image_url": url}


def _file(file: InputFilePart, place: str) -> dict[str, Any]:
    if file.file_url is not None:
        text = _("%(place)s: Send the file itself, as “file_data”. This server fetches no addresses.")
        raise InvalidBody("unsupported_parameter", text, {"place": f"{place}.file_url"}, f"{place}.file_url")
    if file.file_data is None and file.file_id is None:
        raise _invalid(f"{place}.file_data", _("%(place)s: Send a file as “file_data”, or its “file_id”."))
    content = {"file_id": file.file_id} if file.file_data is None else {"file_data": file.file_data}
    if file.filename is not None:
        content["filename"] = file.filename
    return {"type": "file", "file": content}


def _unsupported_part(part: dict[str, Any], place: str) -> InvalidBody:
    return InvalidBody(
        "unsupported_parameter",
        _("%(place)s: Parts of the type “%(kind)s” are not supported here."),
        {"place": f"{place}.type", "kind": json.dumps(part.get("type"))[:60]},
        f"{place}.type",
    )


def _no_item(place: str) -> InvalidBody:
    return _invalid(place, _("%(place)s: There is no such item in your stored responses."))


def _invalid(place: str, message: str) -> InvalidBody:
    return InvalidBody("invalid_value", message, {"place": place}, place)
