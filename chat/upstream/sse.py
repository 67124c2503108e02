"""Decoder for streamed chat completions, faster than the models of the SDK, and for whole ones.

Server-sent events as defined by the WHATWG HTML specification, section "Interpreting an event stream".
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

from chat.text import clean
from chat.upstream import lenient
from chat.upstream.errors import Malformed, NotAStream
from chat.upstream.types import StreamChunk

_decode = msgspec.json.Decoder(StreamChunk).decode

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DONE = b"[DONE]"
# No valid line is longer than this: a picture of 4,096 by 4,096 pixels without loss may have half of it.
LINE_MAX_BYTES = 64 * 1024 * 1024


class Decoder:
    """Turns network reads into chunks; keeps an incomplete line for the next read.

    `is_done`: `[DONE]` has been read. `has_event`: a `data:` line has been read. `failure`: a damaged line
    has been read; chunks before it are valid, nothing after it is decoded.

    A body without any event may be one JSON document: `is_document` says so after `end`.
    """

    def __init__(self) -> None:
        self._rest = b""
        # What follows it without the end of a line: joined once, however long the line is.
        self._more: list[bytes] = []
        self._more_bytes = 0
        # Everything until the first event.
        self._body: bytearray | None = bytearray()
        self._data: list[bytes] = []
        self._high_surrogate = ""
        self._is_error = False
        self.is_done = False
        self.has_event = False
        self.is_document = False
        self.failure: Malformed | None = None

    def feed(self, data: bytes) -> list[StreamChunk]:
        """Return the chunks completed by `data`."""
        if self._body is not None:
            self._body += data
        if b"\n" not in data and b"\r" not in data:
            self._more.append(data)
            self._more_bytes += len(data)
            self._check_length()
            return []
        data = self._joined_rest() + data
        if b"\r" in data:
            # A CR at the end may be the first half of a CRLF.
            kept = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(kept)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + kept
        *lines, self._rest = data.split(b"\n")
        self._check_length()
        if not self.has_event and lines:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        return self._chunks(lines)

    def _joined_rest(self) -> bytes:
        if self._more:
            self._rest = b"".join((self._rest, *self._more))
            self._more, self._more_bytes = [], 0
        return self._rest

    def _check_length(self) -> None:
        if len(self._rest) + self._more_bytes > LINE_MAX_BYTES:
            self.failure = Malformed("a line that does not end")

    def end(self) -> list[StreamChunk]:
        """Return the chunks completed by the end of the stream.

        That is a last event without its blank line, or the whole body if it is one JSON document. Raises
        Malformed if it is a damaged one, NotAStream if it has several.
        """
        body = b"" if self._body is None else bytes(self._body).removeprefix(BYTE_ORDER_MARK).strip()
        if body.startswith((b"{", b"[")):
            self._body, self._rest, self._more = None, b"", []
            self.is_document = True
            return [lenient.chunk_of(_cleaned(_document(body)))]
        lines = [self._joined_rest().rstrip(b"\r"), b""]
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
        self._body = None
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
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            chunk = self._unusual_chunk(data)
        else:
            if self._high_surrogate:
                chunk = self._with_replacement(chunk)
            if not _is_usual(chunk):
                chunk = self._unusual_chunk(data)
        if self._is_error and chunk.error is None:
            return StreamChunk(error={"message": data[:500].decode(errors="replace")})
        return chunk

    def _unusual_chunk(self, data: bytes) -> StreamChunk:
        """Decode what msgspec rejects: unpaired surrogates, which JSON allows, and fields of other types."""
        return lenient.chunk_of(self._pair_surrogates(lenient.loads(data)))

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


def _is_usual(chunk: StreamChunk) -> bool:
    """Whether the fields that msgspec decodes are all that can be text or an error."""
    if not chunk.choices or chunk.error is not None:
        return False
    return all(choice.delta is not None for choice in chunk.choices)


def _document(body: bytes) -> Any:
    """Decode a body that is one JSON document; the first element of a list, as Gemini sends errors."""
    try:
        document = lenient.loads(body)
    except Malformed:
        with contextlib.suppress(ValueError):
            json.loads(body.partition(b"\n")[0])
            raise NotAStream("several JSON documents") from None
        raise
    return document[0] if isinstance(document, list) and document else document


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
