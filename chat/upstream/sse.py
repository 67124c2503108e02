"""From the bytes of a streamed chat completion to typed values, without building the SDK's models.

Server-sent events after the WHATWG HTML specification, section "Interpreting an event stream".
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

from chat.text import clean
from chat.upstream.errors import Malformed
from chat.upstream.types import Usage


class ChoiceDelta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: Any = None


class Choice(msgspec.Struct, frozen=True):
    delta: ChoiceDelta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """One `data:` line: the endpoint's word for what we call a delta, and what comes with it."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Chunk).decode

DONE = b"[DONE]"
# A line longer than this is not a model's.
LINE_MAX_BYTES = 16 * 1024 * 1024


class Decoder:
    """Turns network reads into chunks; keeps what is incomplete for the next read.

    `is_done` after `[DONE]`. `has_event` after any `data:` line. `failure` once something was damaged:
    what came before it counts, nothing after it does.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._held_surrogate = ""
        self._is_error = False
        self.is_done = False
        self.has_event = False
        self.failure: Malformed | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks completed by `data`."""
        data = self._rest + data
        if b"\r" in data:
            # A CR at the very end may be half of a CRLF.
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > LINE_MAX_BYTES:
            self.failure = Malformed("a line that does not end")
        return self._chunks(lines)

    def end(self) -> list[Chunk]:
        """Return what the end of the stream completes: a last event without its blank line."""
        lines = [self._rest.rstrip(b"\r"), b""]
        self._rest = b""
        before = self.failure
        found = self._chunks(lines)
        self.failure = before  # half a line means that the stream was cut, which is for others to say
        return found

    @property
    def has_half(self) -> bool:
        """Whether half a character is still waiting for its other half; of a cut stream it is no text."""
        return bool(self._held_surrogate)

    def _chunks(self, lines: list[bytes]) -> list[Chunk]:
        found: list[Chunk] = []
        for line in lines:
            if self.failure is not None:
                break
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    self._dispatch(found)
                self._is_error = False
            elif line.startswith(b"event:"):
                self._is_error = line[6:].strip() == b"error"
        return found

    def _dispatch(self, found: list[Chunk]) -> None:
        """Add the chunk of one event to `found`."""
        parts, self._data = self._data, []
        self.has_event = True
        if len(parts) > 1:
            # Usually a server that leaves out the blank lines; by the specification, one event.
            with contextlib.suppress(Malformed):
                found.append(self._chunk(b"\n".join(parts)))
                return
        for part in parts:
            if part.strip() == DONE:
                self.is_done = True
            elif part.strip() and not self.is_done:
                try:
                    found.append(self._chunk(part))
                except Malformed as exc:
                    self.failure = exc
                    return

    def _chunk(self, data: bytes) -> Chunk:
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            chunk = self._slow_chunk(data)
        else:
            if self._held_surrogate:
                chunk = self._without_other_half(chunk)
        if self._is_error and chunk.error is None:
            return Chunk(error={"message": data[:500].decode(errors="replace")})
        return chunk

    def _slow_chunk(self, data: bytes) -> Chunk:
        """Decode what msgspec refuses but JSON allows: lone halves of surrogate pairs."""
        try:
            return msgspec.convert(self._with_pairs(json.loads(data)), Chunk)
        except (ValueError, RecursionError, msgspec.ValidationError) as exc:
            raise Malformed(data[:200].decode(errors="replace")) from exc

    def _with_pairs(self, value: Any) -> Any:
        """Join halves that were split over two deltas; what stays alone becomes U+FFFD."""
        try:
            delta = value["choices"][0]["delta"]
            content = delta["content"]
        except (KeyError, IndexError, TypeError):
            return _cleaned(value)
        if isinstance(content, str):
            content = self._held_surrogate + content
            self._held_surrogate = ""
            if content and "\ud800" <= content[-1] <= "\udbff":
                self._held_surrogate, content = content[-1], content[:-1]
            # Through UTF-16 two halves become one character.
            joined = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            delta["content"] = joined
        return _cleaned(value)

    def _without_other_half(self, chunk: Chunk) -> Chunk:
        """Put U+FFFD for a half that was waiting, now that other text came in the place of its other half."""
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None or choice.delta is None or not choice.delta.content:
            return chunk
        self._held_surrogate = ""
        delta = msgspec.structs.replace(
            choice.delta, content="\N{REPLACEMENT CHARACTER}" + choice.delta.content
        )
        return msgspec.structs.replace(chunk, choices=[msgspec.structs.replace(choice, delta=delta)])


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
