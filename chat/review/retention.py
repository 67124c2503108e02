"""Apply retention policies: count what is due, and erase it in slices.

Whole conversations are handed to the cleanup, as if their users had deleted them long ago. Erasing the text
leaves the rows, for figures and verdicts: every column that redaction covers becomes empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.utils import timezone

from chat import search
from chat.event_log.read import prune_all
from chat.models import (
    Attempt,
    Conversation,
    ConversationSummary,
    Feedback,
    Generation,
    ImportedMessage,
    LargeRequest,
    Mark,
    Message,
    Redaction,
    RetentionPolicy,
    RetentionReport,
)
from chat.review.redaction import COVERED

# The cleanup erases what was deleted a day ago or earlier.
LONG_AGO = timedelta(days=2)
# The columns of COVERED that belong to a conversation, and how. Slices of requests are deleted as rows.
OWNERS: dict[type[models.Model], str] = {
    Conversation: "pk",
    Message: "conversation",
    Generation: "message__conversation",
    Attempt: "generation__message__conversation",
    Feedback: "message__conversation",
    ImportedMessage: "message__conversation",
    Mark: "conversation",
    Redaction: "conversation",
}


@dataclass(frozen=True, slots=True)
class DueCount:
    """What a policy would erase now."""

    policy: RetentionPolicy
    conversations: int
    messages: int


def dry_run() -> list[DueCount]:
    """Count what each policy would erase now, without changing anything."""
    counts = []
    for policy in RetentionPolicy.objects.select_related("group"):
        due = policy.due().order_by()
        messages = Message.objects.filter(conversation__in=due.values("pk"))
        counts.append(DueCount(policy, due.count(), messages.count()))
    return counts


@transaction.atomic
def apply_policies(rows: int) -> int:
    """Apply the policies to some conversations; return about the number of rows. Fewer: nothing is left."""
    done = 0
    for policy in RetentionPolicy.objects.filter(is_active=True).select_related("group"):
        ids = list(policy.due().values_list("pk", flat=True)[: max(1, (rows - done) // 4)])
        if not ids:
            continue
        messages = Message.objects.filter(conversation__in=ids).count()
        if policy.action == RetentionPolicy.Action.TEXT:
            erase_text(ids)
        else:
            Conversation.objects.filter(pk__in=ids).update(deleted_at=timezone.now() - LONG_AGO)
        RetentionReport.add(policy, len(ids), messages)
        done += max(rows, 1)
        break
    return done


def erase_text(ids: Iterable[UUID]) -> None:
    """Empty every text of these conversations. Call in a transaction."""
    ids = list(ids)
    message_ids = list(Message.objects.filter(conversation__in=ids).values_list("pk", flat=True))
    generations = Generation.objects.filter(message__conversation__in=ids)
    prune_all(generations)
    LargeRequest.objects.filter(generation__message__conversation__in=ids).delete()
    for table, owner in OWNERS.items():
        empty = {name: _empty(table._meta.get_field(name)) for name in COVERED[table]}
        table._default_manager.filter(**{f"{owner}__in": ids}).update(**empty)
    forget_in_logs(ids)
    search.remove(message_ids)
    now = timezone.now()
    for pk in ids:
        ConversationSummary.objects.update_or_create(
            conversation_id=pk,
            defaults={"text_erased_at": now},
            create_defaults={"text_erased_at": now, "messages_count": 0},
        )


def forget_in_logs(ids: Iterable[UUID]) -> None:
    """Remove the titles of conversations from the history of the admin."""
    kind = ContentType.objects.get_for_model(Conversation)
    LogEntry.objects.filter(content_type=kind, object_id__in=[str(pk) for pk in ids]).update(
        object_repr="", change_message=""
    )


def _empty(field: Any) -> Any:
    return None if field.null else field.get_default() if field.has_default() else ""
