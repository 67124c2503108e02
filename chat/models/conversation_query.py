"""Queries for conversations: whose they are, and which of them a page lists."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from chat import search


class ConversationQueries[Row: models.Model](models.QuerySet[Row]):
    """Queries for `Conversation`, which imports this module."""

    def of(self, user: AbstractUser) -> Self:
        """Return the conversations of `user` that are not deleted."""
        return self.filter(user_id=user.pk, deleted_at=None)

    def visible(self) -> Self:
        """Return those that pages show, without those of programs."""
        return self.filter(is_hidden=False)

    def listable(self) -> Self:
        """Return those that a list of the user may show, archived ones included."""
        return self.visible().filter(expires_at=None)

    def search(self, query: str) -> Self:
        """Return those that a search finds; all for an empty query. See `chat.search.find`."""
        return self.filter(pk__in=list(search.find(query).message_of)) if query.strip() else self


# Each serves one of the lists or cleanups.
INDEXES = [
    models.Index(
        fields=["user", "-updated_at", "-id"],
        condition=Q(deleted_at=None, is_hidden=False),
        name="conversations_of_the_sidebar",
    ),
    models.Index(
        fields=["expires_at"], condition=Q(expires_at__isnull=False), name="temporary_conversations"
    ),
    models.Index(
        fields=["user", "-pinned_at"],
        condition=Q(pinned_at__isnull=False),
        name="pinned_conversations",
    ),
    models.Index(fields=["-updated_at", "-id"], name="conversations_by_activity"),
    models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="conversations_to_erase"),
]
