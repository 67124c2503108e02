"""The child process that parses one large body: from standard input to standard output.

Parsers hold the interpreter lock. In the server, a large body would block the event loop and all threads.
The output is one line, a ParsedHeader as JSON, then the messages as JSON objects separated by commas, and
then the files that were in them, one behind the other.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import msgspec

from chat.api import parsing
from chat.api import schemas as wire
from chat.api.file_parts import take_files
from chat.api.invalid_body import InvalidBody
from chat.api.responses import parsing as responses_parsing
from chat.api.responses.input import ParsedInput, to_messages
from chat.api.responses.schemas import ResponseOptions
from chat.text import last_user_text, text_of

# The kinds of requests, as the argument of this program.
COMPLETIONS, RESPONSES = "completions", "responses"
# The rest of a longer text is only in the stored messages.
TEXT_MAX_CHARS = 100_000


class FileHeader(msgspec.Struct, frozen=True):
    """A file that was in the messages; see InlineFile."""

    reference: str
    name: str
    media_type: str
    size_bytes: int


class ParsedHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the server needs to know of a body: either all values, or those of InvalidBody."""

    options: wire.CompletionOptions | None = None
    extras: dict[str, Any] = {}
    response_options: ResponseOptions | None = None
    # Of a response: as in ParsedInput.
    unmatched: list[tuple[str, str]] = []
    # The beginning of the last user message.
    text: str = ""
    digest: str = ""
    message_count: int = 0
    # The files that follow the messages, and the ids of stored ones.
    files: list[FileHeader] = []
    file_ids: list[str] = []
    # How large the messages are that follow the header.
    size_bytes: int = 0
    text_bytes: int = 0

    code: str = ""
    message: str = ""
    values: dict[str, Any] = {}
    param: str | None = None


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
decode_header = msgspec.json.Decoder(ParsedHeader).decode


def parse_large(body: bytes, kind: str = COMPLETIONS) -> tuple[ParsedHeader, bytes]:
    """Return the header of a body, and what follows it: nothing if the body is invalid."""
    options = response_options = None
    extras: dict[str, Any] = {}
    try:
        if kind == RESPONSES:
            response = responses_parsing.parse(body)
            response_options, parsed = response.options, to_messages(response.items, {})
        else:
            completion = parsing.parse(body)
            options, extras = completion.options, completion.extras
            parsed = ParsedInput(completion.messages)
        taken = take_files(parsed.messages, "input" if kind == RESPONSES else "messages")
    except InvalidBody as exc:
        return ParsedHeader(code=exc.code, message=exc.message, values=exc.values, param=exc.param), b""
    encoded = b",".join(map(msgspec.json.encode, parsed.messages))
    header = ParsedHeader(
        options=options,
        extras=extras,
        response_options=response_options,
        unmatched=parsed.unmatched,
        text=last_user_text(parsed.messages)[:TEXT_MAX_CHARS],
        digest=digest_of(parsed.messages),
        message_count=len(parsed.messages),
        files=[
            FileHeader(each.reference, each.name, each.media_type, len(each.data)) for each in taken.files
        ],
        file_ids=taken.ids,
        size_bytes=len(encoded),
        text_bytes=sum(len(text_of(each).encode()) for each in parsed.messages),
    )
    return header, b"".join((encoded, *(each.data for each in taken.files)))


def digest_of(messages: list[dict[str, Any]]) -> str:
    """Return a digest of messages; the order of keys makes no difference."""
    return hashlib.sha256(msgspec.json.encode(messages, order="sorted")).hexdigest()


def main() -> None:
    os.nice(10)  # the server goes first, where processors are few
    header, rest = parse_large(sys.stdin.buffer.read(), *sys.argv[1:])
    sys.stdout.buffer.write(msgspec.json.encode(header) + b"\n")
    sys.stdout.buffer.write(rest)


if __name__ == "__main__":
    main()
