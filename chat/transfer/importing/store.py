"""Store what was read, slice by slice, in transactions of the writer. See `ImportStore`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from chat.models import (
    Conversation,
    ConversationImport,
    ImportedConversation,
    ImportReportRow,
    rows,
)
from chat.transfer.importing.frames import ConversationHead, ImportFrame, MessageBatch, SkippedItem
from chat.transfer.importing.rows import MessageWriter, new_conversation, retention_start

# What one transaction aims at: a question that comes meanwhile waits for its end.
SLICE_S = 0.008
Outcome = ImportReportRow.Outcome


class ImportSuperseded(Exception):
    """Another process runs this import now, or it is gone."""


@dataclass(slots=True)
class _OpenConversation:
    """The conversation whose messages arrive. `known`: source id → primary key of what is stored."""

    head: ConversationHead
    frames_left: int
    conversation: Conversation | None
    known: dict[str, int] = field(default_factory=dict)
    is_new: bool = False
    added: int = 0
    # Why nothing of it is stored.
    reason: str = ""


@dataclass(slots=True)
class StoredSlice:
    """What a transaction did: it becomes the state of the store when it is committed."""

    frames: int = 0
    took_s: float = 0.0
    opened: _OpenConversation | None = None
    fresh: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    position: int | None = None
    done_bytes: int = 0

    def count(self, name: str, number: int = 1) -> None:
        self.changes[name] = self.changes.get(name, 0) + number


class ImportStore:
    """The rows of one run of an import.

    `store` may be run again when its transaction failed: it changes nothing in memory. `committed` then takes
    over what it did. A new conversation is invisible until its last message is stored; if the run ends
    before, cleanup erases it.
    """

    def __init__(self, imported: ConversationImport) -> None:
        self._import = imported
        self._open: _OpenConversation | None = None
        self._kept_since = retention_start(imported.user_id)

    def begin(self, total_bytes: int) -> None:
        """Store how much there is to read. Raises ImportSuperseded."""
        self._touch({"total_bytes": total_bytes})

    def known(self, head: ConversationHead) -> dict[str, int] | None:
        """Return the messages of a conversation that are stored, by their ids there; None: it is not read."""
        opened = self._opened(head)
        return None if opened.reason else opened.known

    def store(self, frames: Sequence[ImportFrame]) -> StoredSlice:
        """Store as many frames as fit into a slice, at least one. Raises ImportSuperseded.

        Without frames, it only stores that the run lives.
        """
        started_s = time.monotonic()
        done = StoredSlice(opened=replace(self._open) if self._open else None)
        self._touch({})
        for frame in frames:
            self._store_frame(frame, done)
            done.frames += 1
            if time.monotonic() - started_s > SLICE_S:
                break
        values: dict[str, Any] = {name: F(name) + number for name, number in done.changes.items()}
        if done.position is not None:
            values |= {"position": done.position, "done_bytes": done.done_bytes}
        if values:
            self._touch(values)
        done.took_s = time.monotonic() - started_s
        return done

    def committed(self, done: StoredSlice) -> None:
        """Take over what a committed slice did."""
        self._open = done.opened
        if self._open is not None:
            self._open.known.update(done.fresh)

    def _touch(self, values: dict[str, Any]) -> None:
        key, guards = self._import.pk, {"epoch": self._import.epoch}
        now = {"changed_at": timezone.now()}
        if values:
            found = ConversationImport.objects.filter(pk=key, **guards).update(**now, **values)
        else:
            found = rows.update(ConversationImport, key, now, guards=guards)
        if not found:
            raise ImportSuperseded(str(key))

    def _store_frame(self, frame: ImportFrame, done: StoredSlice) -> None:
        if isinstance(frame, SkippedItem):
            self._report(
                done,
                frame.number,
                frame.done_bytes,
                Outcome.SKIPPED,
                title=frame.title,
                reason=frame.reason,
                count=frame.count,
            )
        elif isinstance(frame, ConversationHead):
            done.fresh.clear()
            done.opened = self._opened(frame)
        elif isinstance(frame, MessageBatch) and done.opened is not None:
            opened = done.opened
            if not opened.reason:
                try:
                    with transaction.atomic():
                        self._store_messages(opened, frame, done.fresh)
                except (DatabaseError, ValueError, TypeError, KeyError) as exc:
                    opened.reason = f"It could not be stored ({type(exc).__name__})."
            opened.frames_left -= 1
            if not opened.frames_left:
                self._close(opened, done)

    def _opened(self, head: ConversationHead) -> _OpenConversation:
        parsed = head.conversation
        user_id = self._import.user_id
        opened = _OpenConversation(head, head.frames, None)
        earlier = ImportedConversation.objects.filter(
            user=user_id, source=parsed.source, source_id=parsed.id, conversation__deleted_at=None
        )
        found = earlier.select_related("conversation").first()
        if found is not None:
            opened.conversation = found.conversation
            messages = found.conversation.messages.filter(imported__isnull=False)
            opened.known = dict(messages.order_by().values_list("imported__source_id", "pk"))
        elif parsed.source == "chatsite" and _is_here(user_id, parsed.id):
            opened.reason = "known"
        elif self._is_too_old(parsed.updated or parsed.created):
            opened.reason = "It is older than this site keeps conversations."
        else:
            opened.is_new = True
        return opened

    def _is_too_old(self, updated: float | None) -> bool:
        return bool(self._kept_since and updated and updated < self._kept_since.timestamp())

    def _store_messages(self, opened: _OpenConversation, batch: MessageBatch, fresh: dict[str, int]) -> None:
        if opened.conversation is None:
            is_whole = opened.head.frames == 1
            opened.conversation = new_conversation(
                self._import.user_id, opened.head.conversation, is_whole=is_whole
            )
        writer = MessageWriter(self._import, opened.conversation, opened.head.conversation)
        opened.added += writer.store(batch.messages, opened.known, fresh)

    def _close(self, opened: _OpenConversation, done: StoredSlice) -> None:
        head, conversation = opened.head, opened.conversation
        parsed = head.conversation
        details: dict[str, Any] = {"left_out": parsed.left_out}
        if opened.reason == "known":
            outcome, details = Outcome.UNCHANGED, {"title": parsed.title}
        elif opened.reason or conversation is None:
            outcome, details = Outcome.SKIPPED, {"title": parsed.title, "reason": opened.reason}
            conversation = None
        elif opened.is_new:
            outcome = Outcome.IMPORTED
        else:
            outcome = Outcome.UPDATED if opened.added else Outcome.UNCHANGED
        if conversation is not None and opened.added:
            details["previous_leaf_id"] = conversation.leaf_id
            leaf_id = {**opened.known, **done.fresh}.get(parsed.shown or "")
            _finish(conversation, opened, leaf_id)
        done.count("messages_count", opened.added if conversation else 0)
        self._report(
            done,
            head.number,
            head.done_bytes,
            outcome,
            conversation=conversation,
            messages_added=opened.added if conversation else 0,
            **details,
        )
        done.opened = None

    def _report(
        self, done: StoredSlice, number: int, done_bytes: int, outcome: Outcome, **fields: Any
    ) -> None:
        rows.insert(
            ImportReportRow(conversation_import=self._import, number=number, outcome=outcome, **fields)
        )
        done.count(str(outcome), fields.get("count", 1))
        done.position, done.done_bytes = number, done_bytes


def _is_here(user_id: int, source_id: str) -> bool:
    """Return whether a conversation of the user on this very site has this id."""
    try:
        return Conversation.objects.filter(user=user_id, pk=UUID(source_id), deleted_at=None).exists()
    except ValueError:
        return False


def _finish(conversation: Conversation, opened: _OpenConversation, leaf_id: int | None) -> None:
    """Show the branch of the file, unless the user has gone on with the conversation here."""
    parsed = opened.head.conversation
    values: dict[str, Any] = {}
    own = conversation.messages.filter(imported=None)
    if opened.is_new or not own.exists():
        values["leaf_id"] = leaf_id
    if opened.is_new:
        values["deleted_at"] = None
    elif parsed.updated:
        updated = datetime.fromtimestamp(parsed.updated, tz=conversation.updated_at.tzinfo)
        values["updated_at"] = max(conversation.updated_at, min(updated, timezone.now()))
    if values:
        rows.update(Conversation, conversation.pk, values)
