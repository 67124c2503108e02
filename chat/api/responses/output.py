"""The items of a response's output."""

from __future__ import annotations

from typing import Literal

import msgspec

from chat.api.responses import schemas as wire
from chat.api.responses.ids import item_id

# Why an answer ended early, by the provider's finish reason.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def reasoning(
    generation_id: int, number: int, text: str, status: wire.ItemStatus = "completed"
) -> wire.ReasoningOutput:
    content = [] if status == "in_progress" else [wire.ReasoningText(text)]
    return wire.ReasoningOutput(id=item_id("rs", generation_id, number), status=status, content=content)


def text_message(
    generation_id: int,
    number: int,
    text: str,
    status: wire.ItemStatus = "completed",
    *,
    is_refusal: bool = False,
) -> wire.MessageOutput:
    content: list[wire.OutputText | wire.OutputRefusal] = []
    if status != "in_progress":
        content.append(wire.OutputRefusal(text) if is_refusal else wire.OutputText(text))
    return wire.MessageOutput(id=item_id("msg", generation_id, number), status=status, content=content)


def function_call(
    generation_id: int,
    number: int,
    call: tuple[str, str, str],
    status: wire.ItemStatus = "completed",
) -> wire.FunctionCallItem:
    """`call`: its id, the function's name, and the arguments as they were written."""
    call_id, name, arguments = call
    return wire.FunctionCallItem(
        id=item_id("fc", generation_id, number),
        call_id=call_id,
        name=name,
        arguments=arguments,
        status=status,
    )


def image(generation_id: int, number: int, result: str | None) -> wire.ImageItem:
    status: Literal["completed", "failed"] = "failed" if result is None else "completed"
    return wire.ImageItem(id=item_id("ig", generation_id, number), status=status, result=result)


def with_status(item: wire.OutputItem, status: wire.ItemStatus) -> wire.OutputItem:
    return msgspec.structs.replace(item, status=status)
