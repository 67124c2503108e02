"""What an export contains of some conversations, read together."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import models

from chat.models import Attempt, Comparison, Conversation, Feedback, Generation, Mark, Message, Redaction
from chat.review.masking import Mask, is_masking


class ExportedConversation:
    """One conversation with everything an export contains."""

    def __init__(self, conversation: Conversation, masks: Mask) -> None:
        self.conversation = conversation
        self.masks = masks
        self.messages: list[Message] = []
        self.runs: dict[int, list[Generation]] = {}
        self.marks: list[Mark] = []
        self.feedback: list[Feedback] = []
        self.redactions: list[Redaction] = []
        self.comparisons: list[Comparison] = []

    @property
    def verdicts(self) -> dict[int, Comparison.Verdict]:
        """What the user decided about compared answers, by message id."""
        return {pk: each.verdict_on(pk) for each in self.comparisons for pk in each.answers}

    @property
    def user_name(self) -> str:
        """The name of the user, unless personal data are masked."""
        user = self.conversation.user
        return f"user-{user.pk}" if is_masking(self.masks) else user.get_username()

    def shown(self) -> list[Message]:
        """Return the messages of the shown branch."""
        by_id = {message.pk: message for message in self.messages}
        found: list[Message] = []
        pk = self.conversation.leaf_id
        while pk in by_id and len(found) <= len(by_id):
            message = by_id.pop(pk)
            found.append(message)
            pk = message.parent_id
        return found[::-1]


def read(ids: Sequence[UUID], masks: Mask) -> list[ExportedConversation]:
    """Read some conversations with their messages. Eight queries."""
    rows = Conversation.objects.filter(erasure=None).select_related("user", "model").in_bulk(list(ids))
    found = {pk: ExportedConversation(rows[pk], masks) for pk in ids if pk in rows}
    for message in Message.objects.filter(conversation__in=found).order_by("pk").defer("html"):
        found[message.conversation_id].messages.append(message)
    runs = Generation.objects.filter(message__conversation__in=found).order_by("pk")
    attempts = models.Prefetch("attempts", Attempt.objects.defer("abandoned_text", "error_detail"))
    runs = runs.annotate(conversation_pk=models.F("message__conversation_id")).defer("prefix", "request")
    for run in runs.prefetch_related(attempts):
        found[getattr(run, "conversation_pk")].runs.setdefault(run.message_id, []).append(run)  # noqa: B009
    for mark in Mark.objects.filter(conversation__in=found).select_related("label", "criterion"):
        found[mark.conversation_id].marks.append(mark)
    feedback = Feedback.objects.filter(message__conversation__in=found).select_related("message")
    for each in feedback.only(
        "value", "reasons", "comment", "created_at", "message", "message__conversation"
    ):
        found[each.message.conversation_id].feedback.append(each)
    for redaction in Redaction.objects.filter(conversation__in=found):
        found[redaction.conversation_id].redactions.append(redaction)
    comparisons = Comparison.objects.filter(question__conversation__in=found)
    for comparison in comparisons.annotate(conversation_pk=models.F("question__conversation_id")):
        found[getattr(comparison, "conversation_pk")].comparisons.append(comparison)  # noqa: B009
    return list(found.values())
