"""The child process that parses one large body: from standard input to standard output.

Parsers hold the interpreter lock. In the server, a large body would block the event loop and all threads.
The output is one line, a ParsedHeader as JSON, and then the messages as JSON objects separated by commas.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import msgspec

from chat.api import schemas as wire
from chat.api.parsing import InvalidBody, parse
from chat.text import last_user_text, text_of

# The rest of a longer text is only in the stored messages.
TEXT_MAX_CHARS = 100_000


class ParsedHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the server needs to know of a body: either all values, or those of InvalidBody."""

    options: wire.CompletionOptions | None = None
    # The beginning of the last user message.
    text: str = ""
    digest: str = ""
    message_count: int = 0
    # How much follows the header.
    size_bytes: int = 0
    text_bytes: int = 0

    code: str = ""
    message: str = ""
    values: dict[str, Any] = {}
    param: str | None = None


def parse_large(body: bytes) -> tuple[ParsedHeader, bytes]:
    """Return the header and the encoded messages of a body; the latter are empty if it is invalid."""
    try:
        parsed = parse(body)
    except InvalidBody as exc:
        return ParsedHeader(code=exc.code, message=exc.message, values=exc.values, param=exc.param), b""
    encoded = b",".join(map(msgspec.json.encode, parsed.messages))
    header = ParsedHeader(
        options=parsed.options,
        text=last_user_text(parsed.messages)[:TEXT_MAX_CHARS],
        # The order of keys makes no difference.
        digest=hashlib.sha256(msgspec.json.encode(parsed.messages, order="sorted")).hexdigest(),
        message_count=len(parsed.messages),
        size_bytes=len(encoded),
        text_bytes=sum(len(text_of(each).encode()) for each in parsed.messages),
    )
    return header, encoded


def main() -> None:
    os.nice(10)  # the server goes first, where processors are few
    header, messages = parse_large(sys.stdin.buffer.read())
    sys.stdout.buffer.write(msgspec.json.encode(header) + b"\n")
    sys.stdout.buffer.write(messages)


if __name__ == "__main__":
    main()
