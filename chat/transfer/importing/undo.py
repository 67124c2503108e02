"""Undo a whole import: erase what it added, except where the user has gone on since."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from django.db.models import F
from django.utils import timezone

from chat.event_log.writer import Writer
from chat.models import (
    Conversation,
    ConversationImport,
    Erasure,
    ImportedConversation,
    ImportedMessage,
    ImportReportRow,
    LegalHold,
    Message,
)

# Conversations, and messages of a conversation that was there before, in one transaction.
CONVERSATIONS_PER_SLICE = 20
MESSAGES_PER_SLICE = 100
Outcome = ImportReportRow.Outcome


async def run(writer: Writer, imported: ConversationImport) -> None:
    """Undo an import, slice by slice."""
    is_done = False
    while not is_done:
        started_s = time.monotonic()
        is_done = await writer.arun(partial(_undo_some, imported))
        await asyncio.sleep(time.monotonic() - started_s)


def _undo_some(imported: ConversationImport) -> bool:
    """Undo the newest conversations of the report; return whether nothing is left."""
    own = ConversationImport.objects.filter(pk=imported.pk, epoch=imported.epoch)
    now = timezone.now()
    if not own.update(changed_at=now):
        return True
    changed = imported.report.filter(
        conversation__isnull=False, outcome__in=(Outcome.IMPORTED, Outcome.UPDATED)
    )
    report = list(changed.select_related("conversation").order_by("-number")[:CONVERSATIONS_PER_SLICE])
    if not report:
        own.update(status=ConversationImport.Status.UNDONE, finished_at=now)
        return True
    for row in report:
        conversation = row.conversation
        assert conversation is not None
        if _is_kept(conversation, row):
            own.update(kept=F("kept") + 1)
        elif row.outcome == Outcome.IMPORTED:
            # Its rows go with the next cleanup. Another import does not find it any more.
            ImportedConversation.objects.filter(conversation=conversation).delete()
            Erasure.objects.request_conversations([conversation.pk])
        elif not _take_messages_back(imported, conversation, row):
            return False
        ImportReportRow.objects.filter(pk=row.pk).update(conversation=None, title=conversation.title)
    return False


def _is_kept(conversation: Conversation, row: ImportReportRow) -> bool:
    """Return whether the user wrote in it since, or a later import or a hold keeps it."""
    written = conversation.messages.filter(imported=None)
    later = ImportedMessage.objects.filter(
        message__conversation=conversation,
        conversation_import__created_at__gt=row.conversation_import.created_at,
    )
    is_held = Conversation.objects.filter(LegalHold.objects.held(), pk=conversation.pk).exists()
    return written.exists() or later.exists() or is_held


def _take_messages_back(
    imported: ConversationImport, conversation: Conversation, row: ImportReportRow
) -> bool:
    """Delete some of the messages that were added, newest first; return whether none is left."""
    if conversation.leaf_id != row.previous_leaf_id:
        Conversation.objects.filter(pk=conversation.pk).update(leaf_id=row.previous_leaf_id)
    added = conversation.messages.filter(imported__conversation_import=imported).order_by("-pk")
    ids = list(added.values_list("pk", flat=True)[:MESSAGES_PER_SLICE])
    Message.objects.filter(pk__in=ids).delete()
    return len(ids) < MESSAGES_PER_SLICE
