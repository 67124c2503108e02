"""The files and batches API of an endpoint, by the SDK. Nothing is retried here, and no file is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

import msgspec

from chat.upstream import errors, lenient
from chat.upstream.client import Client
from chat.upstream.request_body import request_body
from chat.upstream.translate import from_response, translated
from chat.upstream.types import Prompt, Target, Usage

CALL_TIMEOUT_S = 60.0
# Of a whole file.
FILE_TIMEOUT_S = 900.0
CHAT_PATH = "/v1/chat/completions"
# The key of a batch's metadata under which ours is found again.
KEY = "chatsite_batch"
# How many batches and files of an endpoint are looked through for ours, newest first.
LOOKED_AT = 2_000
FINAL = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class BatchState:
    """What a provider says of a batch. `error`: why it failed as a whole; files are empty if it has none."""

    id: str
    status: str
    output_file: str = ""
    error_file: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class LineResult:
    """The result of one line. `error`: None if it has an answer. `error_code`: the provider's, if any."""

    custom_id: str
    text: str = ""
    thinking: str = ""
    refusal: str = ""
    tool_calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish_reason: str = ""
    usage: Usage | None = None
    error: errors.UpstreamError | None = None
    error_code: str = ""


class _ResultLine(msgspec.Struct, frozen=True):
    custom_id: str
    response: Any = None
    error: Any = None


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(_ResultLine)


def line_of(custom_id: str, target: Target, prompt: Prompt) -> bytes:
    """Return a line of the file to submit, with its line break."""
    body = request_body(target, prompt, target.refused)
    del body["stream"], body["stream_options"]
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT_PATH, "body": body}
    return msgspec.json.encode(line) + b"\n"


class ProviderBatches:
    """The batches of one endpoint. Each method raises UpstreamError."""

    def __init__(self, client: Client, base_url: str, api_key: str) -> None:
        self._sdk: Any = client.sdk(base_url, api_key).with_options(timeout=CALL_TIMEOUT_S)
        self._key = api_key

    async def upload(self, name: str, file: IO[bytes]) -> str:
        """Upload a file of lines; return its id."""
        with self._translated():
            # An open file in a tuple is sent piece by piece; a path would be read as a whole.
            uploaded = await self._sdk.files.create(
                file=(name, file, "application/jsonl"), purpose="batch", timeout=FILE_TIMEOUT_S
            )
        return str(uploaded.id)

    async def find_file(self, name: str, size_bytes: int) -> str:
        """Return the id of a file that was uploaded before, or an empty string."""
        with self._translated():
            page = await self._sdk.files.list(purpose="batch", limit=100)
        found = (each for each in page.data if (each.filename, each.bytes) == (name, size_bytes))
        return next((str(each.id) for each in found), "")

    async def submit(self, file: str, key: str) -> BatchState:
        """Submit an uploaded file under our own key."""
        with self._translated():
            batch = await self._sdk.batches.create(
                input_file_id=file, endpoint=CHAT_PATH, completion_window="24h", metadata={KEY: key}
            )
        return _state_of(batch)

    async def find(self, key: str) -> BatchState | None:
        """Return the batch that was submitted under this key, or None."""
        with self._translated():
            seen = 0
            async for batch in self._sdk.batches.list(limit=100):
                if (batch.metadata or {}).get(KEY) == key:
                    return _state_of(batch)
                seen += 1
                if seen >= LOOKED_AT:
                    break
        return None

    async def state(self, batch_id: str) -> BatchState:
        """Return the state of a batch."""
        with self._translated():
            return _state_of(await self._sdk.batches.retrieve(batch_id))

    async def cancel(self, batch_id: str) -> None:
        """Ask the provider to run no further lines."""
        with self._translated():
            await self._sdk.batches.cancel(batch_id)

    async def results(self, file: str) -> AsyncIterator[LineResult]:
        """Yield the results in a file, in its order. Lines that cannot be read are left out."""
        with self._translated():
            response = self._sdk.files.with_streaming_response.content(file, timeout=FILE_TIMEOUT_S)
            async with response as opened:
                async for line in opened.iter_lines():
                    if (result := result_of(line, self._key)) is not None:
                        yield result

    def _translated(self) -> Any:
        return translated(self._key, on_disconnect=errors.Unreachable)


def _state_of(batch: Any) -> BatchState:
    counts = batch.request_counts
    problems = [each for each in (batch.errors.data if batch.errors else None) or () if each.message]
    return BatchState(
        id=str(batch.id),
        status=str(batch.status),
        output_file=batch.output_file_id or "",
        error_file=batch.error_file_id or "",
        counts={name: getattr(counts, name) or 0 for name in ("total", "completed", "failed")}
        if counts
        else {},
        error="; ".join(
            f"line {each.line}: {each.message}" if each.line is not None else str(each.message)
            for each in islice(problems, 5)
        ),
    )


def result_of(line: str, api_key: str = "") -> LineResult | None:
    """Return the result in one line of a file; None if it names no line of ours."""
    try:
        row = msgspec.convert(lenient.loads(line.encode()), _ResultLine)
    except (errors.Malformed, msgspec.ValidationError):
        return None
    response = row.response if isinstance(row.response, dict) else {}
    status, body = response.get("status_code"), response.get("body")
    if row.error or not response:
        error = row.error if isinstance(row.error, dict) else {}
        failure = errors.ServerFailed(str(error.get("message") or "no answer"))
        code = str(error.get("code") or "failed")[:60]
        return LineResult(row.custom_id, error=failure, error_code=code)
    if status != 200:
        status = status if isinstance(status, int) else 500
        return LineResult(row.custom_id, error=from_response(status, body, api_key))
    try:
        return _answer_of(row.custom_id, body)
    except errors.UpstreamError as error:
        return LineResult(row.custom_id, error=error)


def _answer_of(custom_id: str, body: Any) -> LineResult:
    chunk = lenient.chunk_of(body)
    choice = next((each for each in chunk.choices or () if each.index == 0), None)
    if choice is None or choice.delta is None:
        raise errors.AnswerUnusable("no choice")
    delta = choice.delta
    calls = _calls_of(delta.tool_calls)
    if not (delta.content or delta.refusal or calls):
        raise errors.AnswerUnusable("no text")
    return LineResult(
        custom_id,
        text=delta.content or "",
        thinking=delta.reasoning_content or delta.reasoning or "",
        refusal=delta.refusal or "",
        tool_calls=calls,
        finish_reason=choice.finish_reason or "stop",
        usage=lenient.usage_of(chunk.usage),
    )


def _calls_of(value: Any) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of each tool call."""
    found = []
    for number, call in enumerate(value if isinstance(value, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
            found.append((str(call.get("id") or f"call_{number}"), function["name"], text))
    return found
