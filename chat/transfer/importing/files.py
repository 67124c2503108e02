"""The files of an import on their way from the child's pieces to attachments that messages can have."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings

from chat.errors import RequestRefused
from chat.transfer.formats.parsed import ParsedConversation, ParsedFile, ParsedMessage
from chat.transfer.importing.frames import FilePiece

# Stores a file of a user, or without a path what is known of one, as an attachment that no message has yet.
# Raises RequestRefused.
type KeepFile = Callable[[int, Path | None, ParsedFile], Awaitable[UUID]]

type Alive = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class _ArrivedFile:
    """A file in the folder of what is uploaded. `problem`: why it cannot be used."""

    path: Path
    file: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    size_bytes: int = 0
    problem: str = ""


class FileReceiver:
    """Receives the files of one conversation at a time, and has those kept that its new messages need."""

    def __init__(self, user_id: int, folder: Path, keep: KeepFile | None, alive: Alive) -> None:
        """`keep`: None: files are only named. `alive`: stores that the import lives, before each file."""
        self._user_id, self._folder, self._keep, self._alive = user_id, folder, keep, alive
        self._conversation: ParsedConversation | None = None
        self._known: Mapping[str, int] | None = None
        self._arrived: dict[str, _ArrivedFile] = {}
        self._kept: dict[str, UUID] = {}

    def begin(self, conversation: ParsedConversation, known: Mapping[str, int] | None) -> None:
        """Begin a conversation. `known`: its messages that are stored; None: all, or it is left out."""
        self.close()
        self._conversation, self._known = conversation, known

    def close(self) -> None:
        """Delete what has arrived."""
        for arrived in self._arrived.values():
            arrived.file.close()
            arrived.path.unlink(missing_ok=True)
        self._arrived, self._kept = {}, {}

    def add(self, piece: FilePiece) -> None:
        """Write a piece, if a message needs its file."""
        is_needed = self._known is not None and any(each not in self._known for each in piece.messages)
        if self._keep is None or not is_needed:
            return
        arrived = self._arrived.get(piece.file_id)
        if arrived is None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path = self._folder / token_hex(16)
            arrived = self._arrived[piece.file_id] = _ArrivedFile(path, path.open("xb"))
        arrived.size_bytes += len(piece.data)
        if arrived.size_bytes > settings.ATTACHMENT_MAX_BYTES:
            arrived.problem = "too large"
        arrived.problem = arrived.problem or piece.problem
        if not arrived.problem:
            arrived.file.write(piece.data)
            arrived.digest.update(piece.data)
        if piece.is_last:
            arrived.file.close()

    async def settle(self, messages: list[ParsedMessage]) -> None:
        """Have the files of these messages kept; those that cannot be are named, and counted as left out."""
        for message in messages:
            if self._known is None or message.id in self._known:
                continue
            for claimed in message.attachments:
                problem = await self._settle(claimed)
                if problem:
                    message.files.append(claimed.name)
                    self._count(f"file: {problem}")
                else:
                    message.kept.append(str(self._kept[claimed.id]))

    async def _settle(self, claimed: ParsedFile) -> str:
        """Have a file kept, unless it is; return why it cannot be, or nothing."""
        if claimed.id in self._kept:
            return ""
        if self._keep is None:
            return "not imported"
        arrived = None if claimed.sha256 is None else self._arrived.get(claimed.id)
        if claimed.sha256 is not None:
            problem = _problem_of(claimed, arrived)
            if problem:
                return problem
        try:
            await self._alive()
            path = None if arrived is None else arrived.path
            self._kept[claimed.id] = await self._keep(self._user_id, path, claimed)
        except RequestRefused as refused:
            return "over the quota" if refused.code == "quota" else refused.code.replace("_", " ")
        return ""

    def _count(self, kind: str) -> None:
        if self._conversation is not None:
            counts = self._conversation.left_out
            counts[kind] = counts.get(kind, 0) + 1


def _problem_of(claimed: ParsedFile, arrived: _ArrivedFile | None) -> str:
    if arrived is None:
        return "not in the archive"
    if arrived.problem:
        return arrived.problem
    digest: str = arrived.digest.hexdigest()
    return "" if digest == claimed.sha256 else "not the file that was exported"
