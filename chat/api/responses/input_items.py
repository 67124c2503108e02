"""The input of a response as items: what its request sent, read back from the stored messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec

from chat.api.answer_images import LoadedImage
from chat.api.responses import chains
from chat.api.responses import schemas as wire
from chat.api.responses.chains import StoredResponse
from chat.api.responses.ids import item_id, parse_item_id
from chat.api.responses.objects import stored_output
from chat.models import ApiKey, StoredFile
from chat.models.api_request import ATTACHMENT_ADDRESS


def items_of(found: StoredResponse) -> list[dict[str, Any]]:
    """Return the items that the request of a response sent, in order, with ids."""
    counted = enumerate(_items(chains.own_messages(found), found.request.attachments))
    return [_with_id(item, found.generation.pk, number) for number, item in counted]


def page(
    items: list[dict[str, Any]], *, after: str | None, limit: int, is_ascending: bool
) -> wire.InputItemList:
    """Return some of the items, behind the one with the id `after`."""
    ordered = items if is_ascending else items[::-1]
    place = next((n for n, item in enumerate(ordered, 1) if item["id"] == after), 0)
    data = ordered[place : place + limit]
    return wire.InputItemList(
        data=data,
        first_id=data[0]["id"] if data else None,
        last_id=data[-1]["id"] if data else None,
        has_more=place + limit < len(ordered),
    )


def resolve(key: ApiKey, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return items of stored responses of this key's user, by id. Items that do not exist are left out."""
    known: dict[int, dict[str, dict[str, Any]]] = {}
    found = {}
    for each in ids:
        parsed = parse_item_id(each)
        if parsed is None:
            continue
        if parsed.generation_id not in known:
            known[parsed.generation_id] = _items_by_id(key, parsed.generation_id)
        if each in known[parsed.generation_id]:
            found[each] = known[parsed.generation_id][each]
    return found


def _items_by_id(key: ApiKey, generation_id: int) -> dict[str, dict[str, Any]]:
    found = chains.look_up(key, generation_id)
    if found is None or not found.response.is_stored:
        return {}
    # Words stand for pictures in a prompt, so their content is not read.
    count = (
        found.generation.message.attachment_uses.count() if found.generation.message.attachment_tokens else 0
    )
    output = [msgspec.to_builtins(item) for item in stored_output(found.generation, [LoadedImage()] * count)]
    return {item["id"]: item for item in [*items_of(found), *output]}


def _items(messages: list[dict[str, Any]], attachments: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            call_id = message.get("tool_call_id")
            yield {
                "type": "function_call_output",
                "call_id": call_id,
                "output": content,
                "status": "completed",
            }
            continue
        if content is not None:
            parts = _parts(content, attachments, is_answer=role == "assistant")
            yield {"type": "message", "role": role, "status": "completed", "content": parts}
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield {"type": "function_call", "call_id": call["id"], "status": "completed", **function}


def _parts(
    content: str | list[dict[str, Any]], attachments: Mapping[str, str], *, is_answer: bool
) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [_text(content, is_answer=is_answer)]
    return [_part(part, attachments, is_answer=is_answer) for part in content]


def _text(text: str, *, is_answer: bool) -> dict[str, Any]:
    if is_answer:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _part(part: dict[str, Any], attachments: Mapping[str, str], *, is_answer: bool) -> dict[str, Any]:
    match part["type"]:
        case "image_url":
            image = part["image_url"]
            file_id = _file_id(image["url"], attachments)
            return {
                "type": "input_image",
                "image_url": None if file_id else image["url"],
                "detail": image.get("detail", "auto"),
                "file_id": file_id,
            }
        case "file":
            file_id = _file_id(part["file"].get("file_data"), attachments)
            data = {"file_data": None} if file_id else {}
            return {"type": "input_file", "file_id": file_id, **part["file"], **data}
        case "refusal":
            return part
    return _text(part["text"], is_answer=is_answer)


def _file_id(address: str | None, attachments: Mapping[str, str]) -> str | None:
    """Return the id of the file that stands at this address of a message, if it is an attachment."""
    attachment = attachments.get((address or "").removeprefix(ATTACHMENT_ADDRESS))
    return None if attachment is None else StoredFile.wire_id_of(UUID(attachment))


def _with_id(item: dict[str, Any], generation_id: int, number: int) -> dict[str, Any]:
    prefix = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}[item["type"]]
    return {"id": item_id(prefix, generation_id, number, is_input=True)} | item
