"""Redactions: who removed text, when, why, and from how many places. The text itself is not kept."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# What stands in place of removed text. It means nothing in Markdown.
GAP = "⟦redacted⟧"


class Redaction(models.Model):
    """One removal of text from a conversation."""

    conversation = models.ForeignKey("chat.Conversation", models.CASCADE, related_name="redactions")
    # The message that was redacted as a whole; null: a phrase, wherever it stood in the conversation.
    message = models.ForeignKey(
        "chat.Message", models.CASCADE, null=True, blank=True, related_name="redactions"
    )
    author_id = models.BigIntegerField()
    author_name = models.CharField(_("author"), max_length=150)
    reason = models.CharField(_("reason"), max_length=500)
    created_at = models.DateTimeField(_("redacted"), default=timezone.now)
    # Ids of the messages whose text changed.
    messages_changed = models.JSONField(default=list)
    # How many values of rows changed: texts, titles, requests, discarded texts.
    places = models.PositiveIntegerField(_("places"), default=0)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"redaction by {self.author_name}"
