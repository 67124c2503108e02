"""The batches and the uploaded files of a user, for the ZIP of their own data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zipfile import ZipFile

import msgspec
from django.contrib.auth.models import AbstractUser

from chat.models import Batch, BatchLine, StoredFile
from chat.transfer.export import json_text, safe_name

ROWS_AT_ONCE = 200
_SETTINGS = (
    *("name", "model_name", "runner", "status", "system_prompt", "template", "parameters", "metadata"),
    *("total", "completed", "failed", "input_tokens", "output_tokens", "cost_usd", "error_message"),
    *("created_at", "started_at", "finished_at"),
)


def write_batches(user: AbstractUser, archive: ZipFile) -> Iterator[None]:
    """Write the batches of a user, with their rows and answers, and their files. Yields between parts."""
    for number, batch in enumerate(list(Batch.objects.of(user).order_by("created_at")), 1):
        name = f"batches/{number:05}-{safe_name(batch.name)}"
        archive.writestr(f"{name}/batch.json", json_text({each: getattr(batch, each) for each in _SETTINGS}))
        with archive.open(f"{name}/rows.jsonl", "w", force_zip64=True) as file:
            for part in _lines(batch):
                file.write(b"".join(msgspec.json.encode(_row(batch, line)) + b"\n" for line in part))
                yield
    for number, stored in enumerate(list(StoredFile.objects.of(user).order_by("created_at")), 1):
        name = f"files/{number:05}-{safe_name(stored.name.removesuffix('.jsonl'))}.jsonl"
        with archive.open(name, "w", force_zip64=True) as file:
            for data in stored.slices():
                file.write(data)
                yield


def _lines(batch: Batch) -> Iterator[list[BatchLine]]:
    """Yield all lines, some at a time."""
    own = batch.lines.order_by("number").select_related("generation__message")
    own = own.defer("generation__request")
    last = 0
    while part := list(own.filter(number__gt=last)[:ROWS_AT_ONCE]):
        yield part
        last = part[-1].number


def _row(batch: Batch, line: BatchLine) -> dict[str, Any]:
    return {
        "number": line.number,
        "custom_id": line.custom_id,
        "cells": dict(zip(batch.columns, line.cells, strict=False)),
        "prompt": line.prompt,
        "request": line.request,
        "state": line.state,
        "reason": line.reason,
        "answer": line.generation.message.text if line.generation is not None else None,
    }
