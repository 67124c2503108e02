"""The output and error files of batches: they are written when they are read, from the lines."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from chat.api import schemas as wire
from chat.api import serializers
from chat.api.answer_images import load_now
from chat.api.errors import CODE_OF
from chat.api.responses import objects
from chat.models import Batch, BatchLine, Generation

OUTPUT, ERRORS = "file-out-", "file-err-"
LINES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ResultFile:
    batch_id: uuid.UUID
    is_error_file: bool


def parse_id(wire_id: str) -> ResultFile | None:
    """Return what the id of a result names; None if it is the id of another file."""
    for prefix in (OUTPUT, ERRORS):
        if wire_id.startswith(prefix):
            with suppress(ValueError):
                return ResultFile(uuid.UUID(hex=wire_id.removeprefix(prefix)), prefix == ERRORS)
    return None


def lines(batch: Batch, *, is_error_file: bool) -> Iterator[bytes]:
    """Yield the lines of a result, some at a time."""
    states = BatchLine.UNSUCCESSFUL if is_error_file else (BatchLine.State.COMPLETED,)
    last = 0
    own = batch.lines.filter(state__in=states).order_by("number").select_related("generation__message")
    while found := list(own.filter(number__gt=last)[:LINES_AT_ONCE]):
        last = found[-1].number
        yield b"".join(_line(batch, line) + b"\n" for line in found)


def _line(batch: Batch, line: BatchLine) -> bytes:
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    generation = line.generation
    if line.state == BatchLine.State.COMPLETED and generation is not None:
        response = {"status_code": 200, "request_id": f"req_{generation.pk}", "body": _body(generation)}
    else:
        code = line.error_code or line.state
        error = {"code": CODE_OF.get(code, code), "message": line.reason}
    row = {"id": f"batch_req_{line.pk}", "custom_id": line.custom_id, "response": response, "error": error}
    return wire.encode(row)


def _body(generation: Generation) -> msgspec.Struct | None:
    request = generation.api_request
    if request is not None and request.response is not None:
        return objects.current(generation, request.response, images=load_now(generation))
    return serializers.completion(generation, load_now(generation))
