"""The process that reads a file, parses and renders it, and writes frames to standard output.

The file is a stranger's. This process has limits of memory and time, the lowest priority, and no secrets.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from chat import rendering
from chat.transfer.formats.json_items import JsonItems, JsonProblem
from chat.transfer.formats.parsed import NotImportable, ParsedConversation, line_of
from chat.transfer.formats.recognise import is_conversation, parse
from chat.transfer.formats.source_file import SourceFiles, UnreadableFile
from chat.transfer.importing.file_pieces import file_pieces, users_of_files
from chat.transfer.importing.frames import (
    BeginFrame,
    ConversationHead,
    EndFrame,
    MessageBatch,
    SkippedItem,
    batches_of,
    encode_frame,
)

MEMORY_MAX_BYTES = 2 * 1024**3
CPU_MAX_S = 4 * 3600
CONVERSATIONS_MAX = 200_000
# So many skipped values are reported one by one; after that they are only counted.
REPORTED_SKIPS_MAX = 1_000
# A file without a conversation among its first values is one of other things.
FIRST_VALUES = 10
SKIPS_PER_FRAME = 5_000
VALUES_MAX = 5_000_000


class ImportReader:
    """Reads the files of one export and writes frames. Numbers count the values, from 1."""

    def __init__(self, source: SourceFiles, out: BinaryIO, *, skip: int) -> None:
        self._source, self._out, self._skip = source, out, skip
        self._names = source.asset_names()
        self._number = 0
        self._found = 0
        self._skips = 0
        self._waiting: SkippedItem | None = None

    def run(self) -> None:
        for name, stream in self._source:
            for value in self._values(name, stream):
                self._number += 1
                if self._number > VALUES_MAX or self._found > CONVERSATIONS_MAX:
                    raise UnreadableFile(f"The file has more than {CONVERSATIONS_MAX:,} conversations.")
                if self._number > self._skip:
                    self._read(name, value)
        self._flush_skipped()
        if self._number == 0:
            raise UnreadableFile(
                "No conversations were found. Known are the exports of ChatGPT, Claude, Open WebUI, "
                "LibreChat and Chatsite, as the ZIP or the JSON files in it."
            )

    def _values(self, name: str, stream: BinaryIO) -> Iterator[Any]:
        """Yield the values of one file, none if it is a file of other things."""
        items = iter(JsonItems(stream))
        is_one_of_conversations = any(word in name.lower() for word in ("conversation", "chat"))
        first: list[Any] = []
        for value in items:
            first.append(value)
            if is_one_of_conversations or is_conversation(value) or isinstance(value, JsonProblem):
                return chain(first, items)
            if len(first) == FIRST_VALUES:
                break
        return iter(())

    def _read(self, name: str, value: Any) -> None:
        if isinstance(value, JsonProblem):
            base = line_of(name.rpartition("/")[2], 60)
            self._skipped("", f"{value.reason} ({base}, at character {value.place:,})")
            return
        title = line_of(value.get("title") or value.get("name")) if isinstance(value, dict) else ""
        try:
            frames = self._frames(parse(value, self._names))
        except NotImportable as exc:
            self._skipped(title, str(exc))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
            # A shape that no parser foresaw costs this conversation only.
            self._skipped(title, "Its shape is not as expected.")
        else:
            self._found += 1
            self._flush_skipped()
            for frame in frames:
                self._out.write(frame)

    def _frames(self, conversation: ParsedConversation) -> Iterator[bytes]:
        messages, conversation.messages = conversation.messages, []
        for message in messages:
            if message.role == "assistant" and message.text:
                message.html = rendering.render(message.text)
        batches = list(batches_of(messages))
        users = users_of_files(messages)
        done = self._source.read_bytes
        head = ConversationHead(self._number, conversation, len(batches), done, has_files=bool(users))
        frames = [encode_frame(head), *(encode_frame(MessageBatch(batch)) for batch in batches)]
        pieces = (piece for file_id, by in users.items() for piece in file_pieces(self._source, file_id, by))
        return chain(frames[:1], map(encode_frame, pieces), frames[1:])

    def _skipped(self, title: str, reason: str) -> None:
        self._skips += 1
        done = self._source.read_bytes
        if self._skips <= REPORTED_SKIPS_MAX:
            self._out.write(encode_frame(SkippedItem(self._number, title, reason[:300], done)))
            return
        waiting = self._waiting
        if waiting is not None and (waiting.reason != reason or waiting.count >= SKIPS_PER_FRAME):
            self._flush_skipped()
            waiting = None
        if waiting is None:
            self._waiting = SkippedItem(self._number, "", reason[:300], done)
        else:
            waiting.number, waiting.count, waiting.done_bytes = self._number, waiting.count + 1, done

    def _flush_skipped(self) -> None:
        if self._waiting is not None:
            self._out.write(encode_frame(self._waiting))
            self._waiting = None


def read_export(path: Path, out: BinaryIO, *, skip: int) -> None:
    """Write the frames of an export; values up to number `skip` are left out."""
    problem, done = "", 0
    try:
        source = SourceFiles(path)
        out.write(encode_frame(BeginFrame(source.total_bytes())))
        ImportReader(source, out, skip=skip).run()
        done = source.read_bytes
    except UnreadableFile as exc:
        problem = str(exc)
    except MemoryError:
        problem = "The file needs too much memory."
    out.write(encode_frame(EndFrame(problem, done)))
    out.flush()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    os.nice(10)
    read_export(Path(sys.argv[1]), sys.stdout.buffer, skip=int(sys.argv[2]))


if __name__ == "__main__":
    main()
