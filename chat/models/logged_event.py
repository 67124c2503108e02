"""Logged events: the rows of the event log."""

from __future__ import annotations

from django.db import models


class LoggedEvent(models.Model):
    """One event of one generation. Only `chat.event_log` writes and reads these rows."""

    pk = models.CompositePrimaryKey("generation_id", "seq")
    # No foreign key: one deleted generation must not fail the commit of fifty others.
    generation_id = models.BigIntegerField()
    seq = models.PositiveIntegerField()
    # A `chat.events.Event` as JSON.
    payload = models.TextField()

    class Meta:
        db_table = "chat_delta_log"
