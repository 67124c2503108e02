"""What the reading child process sends, each as four bytes of length and MessagePack."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chat.transfer.formats.parsed import ParsedConversation, ParsedMessage

# One frame has at most so many messages and, unless one message alone is larger, so many characters.
MESSAGES_PER_FRAME = 50
CHARS_PER_FRAME = 200_000
# Larger than any frame that an honest child sends.
FRAME_MAX_BYTES = 64 * 1024 * 1024


class _Frame(msgspec.Struct, tag=True):
    pass


class BeginFrame(_Frame):
    """The file is open. `total_bytes`: of all files in it, unpacked."""

    total_bytes: int


class ConversationHead(_Frame):
    """A conversation without its messages, which follow in `frames` MessageBatch frames."""

    number: int
    conversation: ParsedConversation
    frames: int
    done_bytes: int
    has_files: bool = False


class FilePiece(_Frame):
    """A piece of a file of the conversation that began last, before its messages.

    `messages`: those that have it. `problem`: why it is not whole, with the last piece.
    """

    file_id: str
    messages: list[str]
    data: bytes = b""
    is_last: bool = False
    problem: str = ""


class MessageBatch(_Frame):
    messages: list[ParsedMessage]


class SkippedItem(_Frame):
    """`count` values up to `number` that were not imported for the same reason."""

    number: int
    title: str
    reason: str
    done_bytes: int
    count: int = 1


class EndFrame(_Frame):
    """The end. `problem`: why it came early; empty: everything was read."""

    problem: str = ""
    done_bytes: int = 0


type ImportFrame = BeginFrame | ConversationHead | FilePiece | MessageBatch | SkippedItem | EndFrame

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ImportFrame] = msgspec.msgpack.Decoder(
    BeginFrame | ConversationHead | FilePiece | MessageBatch | SkippedItem | EndFrame
)


def encode_frame(frame: ImportFrame) -> bytes:
    data = _encoder.encode(frame)
    return len(data).to_bytes(4, "big") + data


def decode_frame(data: bytes) -> ImportFrame:
    return _decoder.decode(data)


def batches_of(messages: list[ParsedMessage]) -> Iterator[list[ParsedMessage]]:
    """Divide messages into lists that fit into a frame."""
    batch: list[ParsedMessage] = []
    chars = 0
    for message in messages:
        size = len(message.text) + len(message.thinking) + sum(len(file.text) for file in message.attachments)
        if batch and (len(batch) == MESSAGES_PER_FRAME or chars + size > CHARS_PER_FRAME):
            yield batch
            batch, chars = [], 0
        batch.append(message)
        chars += size
    if batch:
        yield batch
