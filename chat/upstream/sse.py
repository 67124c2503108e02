"""Decoder for streamed chat completions, faster than the models of the SDK.

Server-sent events as defined by the WHATWG HTML specification, section "Interpreting an event stream".
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

from chat.text import clean
from chat.upstream.errors import Malformed
from chat.upstream.types import Usage


class StreamDelta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: Any = None


class StreamChoice(msgspec.Struct, frozen=True):
    delta: StreamDelta | None = None
    finish_reason: str | None = None


class StreamChunk(msgspec.Struct, frozen=True):
    """The JSON of one `data:` line, which the protocol calls a chunk."""

    choices: list[StreamChoice] | None = None
    usage: Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(StreamChunk).decode

DONE = b"[DONE]"
# No valid line is longer than this.
LINE_MAX_BYTES = 16 * 1024 * 1024


class Decoder:
    """Turns network reads into chunks; keeps an incomplete line for the next read.

    `is_done`: `[DONE]` has been read. `has_event`: a `data:` line has been read. `failure`: a damaged line
    has been read; chunks before it are valid, nothing after it is decoded.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._high_surrogate = ""
        self._is_error = False
        self.is_done = False
        self.has_event = False
        self.failure: Malformed | None = None

    def feed(self, data: bytes) -> list[StreamChunk]:
        """Return the chunks completed by `data`."""
        data = self._rest + data
        if b"\r" in data:
            # A CR at the end may be the first half of a CRLF.
            kept = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(kept)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + kept
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > LINE_MAX_BYTES:
            self.failure = Malformed("a line that does not end")
        return self._chunks(lines)

    def end(self) -> list[StreamChunk]:
        """Return the chunks completed by the end of the stream.

        That is a last event without its blank line.
        """
        lines = [self._rest.rstrip(b"\r"), b""]
        self._rest = b""
        before = self.failure
        chunks = self._chunks(lines)
        # An incomplete last line is not a damaged one: the stream was cut, which the caller detects.
        self.failure = before
        return chunks

    @property
    def has_half_character(self) -> bool:
        """Whether half of a surrogate pair is held back at the end of the text."""
        return bool(self._high_surrogate)

    def _chunks(self, lines: list[bytes]) -> list[StreamChunk]:
        chunks: list[StreamChunk] = []
        for line in lines:
            if self.failure is not None:
                break
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    self._dispatch(chunks)
                self._is_error = False
            elif line.startswith(b"event:"):
                self._is_error = line[6:].strip() == b"error"
        return chunks

    def _dispatch(self, chunks: list[StreamChunk]) -> None:
        """Append the chunk of one event to `chunks`."""
        parts, self._data = self._data, []
        self.has_event = True
        if len(parts) > 1:
            # One event by the specification; in practice usually a server that omits the blank lines.
            with contextlib.suppress(Malformed):
                chunks.append(self._chunk(b"\n".join(parts)))
                return
        for part in parts:
            if part.strip() == DONE:
                self.is_done = True
            elif part.strip() and not self.is_done:
                try:
                    chunks.append(self._chunk(part))
                except Malformed as exc:
                    self.failure = exc
                    return

    def _chunk(self, data: bytes) -> StreamChunk:
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            chunk = self._chunk_with_surrogates(data)
        else:
            if self._high_surrogate:
                chunk = self._with_replacement(chunk)
        if self._is_error and chunk.error is None:
            return StreamChunk(error={"message": data[:500].decode(errors="replace")})
        return chunk

    def _chunk_with_surrogates(self, data: bytes) -> StreamChunk:
        """Decode what msgspec rejects but JSON allows: unpaired surrogates."""
        try:
            return msgspec.convert(self._pair_surrogates(json.loads(data)), StreamChunk)
        except (ValueError, RecursionError, msgspec.ValidationError) as exc:
            raise Malformed(data[:200].decode(errors="replace")) from exc

    def _pair_surrogates(self, value: Any) -> Any:
        """Join surrogate pairs split over two deltas; unpaired surrogates become U+FFFD."""
        try:
            delta = value["choices"][0]["delta"]
            content = delta["content"]
        except (KeyError, IndexError, TypeError):
            return _cleaned(value)
        if isinstance(content, str):
            content = self._high_surrogate + content
            self._high_surrogate = ""
            if content and "\ud800" <= content[-1] <= "\udbff":
                self._high_surrogate, content = content[-1], content[:-1]
            # Encoding as UTF-16 joins the two halves into one character.
            delta["content"] = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return _cleaned(value)

    def _with_replacement(self, chunk: StreamChunk) -> StreamChunk:
        """Put U+FFFD before text that does not complete the pending surrogate pair."""
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None or choice.delta is None or not choice.delta.content:
            return chunk
        self._high_surrogate = ""
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
