"""Erasures: users and conversations that staff deleted, until the last of their rows is gone.

One person can have a million rows. Deleting them in the transaction of a request would keep everybody else's
answers from being stored, so the request only leaves such a row and cleanup does the rest in slices. A row
survives a restart, and so the deletion is continued.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from secrets import token_hex
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.utils import timezone

from chat.models.conversation import Conversation
from chat.models.generation import Generation


class ErasureQuerySet(models.QuerySet["Erasure"]):
    def conversations(self) -> models.QuerySet[Any, Any]:
        """Return the ids of conversations that are being erased, to leave them out of a list.

        `erasure=None` would be a join, whose size PostgreSQL guesses wrong: it then sorts the whole table.
        """
        return self.filter(conversation__isnull=False).values("conversation")

    @transaction.atomic
    def request_users(self, ids: Iterable[int]) -> None:
        """Sign these users out for good, stop their answers, and have all of their rows erased.

        Their names go at once, so that new users can have them.
        """
        ids = list(ids)
        for pk in ids:
            get_user_model().objects.filter(pk=pk).update(
                username=f"erased-{pk}-{token_hex(4)}", email="", first_name="", last_name="", is_active=False
            )
        Generation.objects.filter(user__in=ids).request_stop()
        self.bulk_create([Erasure(user_id=pk) for pk in ids], ignore_conflicts=True)

    @transaction.atomic
    def request_conversations(self, ids: Iterable[UUID]) -> None:
        """Hide these conversations from their users, stop their answers, and have them erased."""
        ids = list(ids)
        Conversation.objects.filter(pk__in=ids, deleted_at=None).update(deleted_at=timezone.now())
        Generation.objects.filter(message__conversation__in=ids).request_stop()
        self.bulk_create([Erasure(conversation_id=pk) for pk in ids], ignore_conflicts=True)


class Erasure(models.Model):
    """A user or a conversation that is being erased. It goes with the row that it names."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="erasure")
    conversation = models.OneToOneField(
        "chat.Conversation", models.CASCADE, null=True, related_name="erasure"
    )
    requested_at = models.DateTimeField(default=timezone.now)

    # Running answers stop within two seconds, unless their process hangs.
    STOP_WITHIN = timedelta(seconds=30)

    objects = ErasureQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user=None, conversation__isnull=False)
                | models.Q(user__isnull=False, conversation=None),
                name="erasure_of_one_thing",
            )
        ]

    def __str__(self) -> str:
        return f"erasure of {self.user or self.conversation}"

    @property
    def is_due(self) -> bool:
        """Whether no answer is running any more, or has had its time to stop."""
        if self.requested_at < timezone.now() - self.STOP_WITHIN:
            return True
        running = Generation.objects.active()
        if self.user_id is not None:
            return not running.filter(user=self.user_id).exists()
        return not running.filter(message__conversation=self.conversation_id).exists()

    @classmethod
    def due(cls) -> list[Erasure]:
        """Return those that may begin, oldest first; at most fifty."""
        from chat.models.retention import LegalHold

        holds = LegalHold.objects.active()
        free = cls.objects.exclude(user__in=holds.filter(user__isnull=False).values("user")).exclude(
            conversation__in=holds.filter(conversation__isnull=False).values("conversation")
        )
        return [erasure for erasure in free.order_by("pk")[:50] if erasure.is_due]
