"""The files of messages in an archive, as the reading child process sends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from chat.transfer.formats.parsed import ParsedMessage
from chat.transfer.formats.source_file import SourceFiles, UnreadableFile
from chat.transfer.importing.frames import FilePiece

PIECE_BYTES = 256 * 1024
# More than any site takes; what a site takes is checked where the pieces arrive.
FILE_MAX_BYTES = 1024**3


def users_of_files(messages: Iterable[ParsedMessage]) -> dict[str, list[str]]:
    """Return the files with content that these messages have: by id, the ids of their messages."""
    users: dict[str, list[str]] = {}
    for message in messages:
        for file in message.attachments:
            if file.sha256 is not None:
                users.setdefault(file.id, []).append(message.id)
    return users


def file_pieces(source: SourceFiles, file_id: str, messages: list[str]) -> Iterator[FilePiece]:
    """Yield a file piece by piece; nothing if the archive does not have it.

    Raises UnreadableFile if the archive becomes too large; a damaged file costs only itself.
    """
    sent = 0
    try:
        stream = source.attachment(file_id)
        if stream is None:
            return
        with closing(stream):
            while data := stream.read(PIECE_BYTES):
                sent += len(data)
                if sent > FILE_MAX_BYTES:
                    yield FilePiece(file_id, messages, is_last=True, problem="too large")
                    return
                yield FilePiece(file_id, messages, data)
    except UnreadableFile:
        if source.is_exhausted:
            raise
        yield FilePiece(file_id, messages, is_last=True, problem="damaged")
    else:
        yield FilePiece(file_id, messages, is_last=True)
