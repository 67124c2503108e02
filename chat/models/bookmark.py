"""Bookmarks: messages that a user wants to find again."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.message import Message

# The list is one page.
BOOKMARKS_MAX = 500


class BookmarkQuerySet(models.QuerySet["Bookmark"]):
    def of(self, user: AbstractUser) -> BookmarkQuerySet:
        """Return the bookmarks of a user in conversations that are not deleted, newest first."""
        own = self.filter(user_id=user.pk, message__conversation__deleted_at=None)
        return own.select_related("message__conversation").order_by("-pk")


class Bookmark(models.Model):
    """A message that its user has marked."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="bookmarks", db_index=False
    )
    message = models.ForeignKey("chat.Message", models.CASCADE, related_name="bookmarks")
    created_at = models.DateTimeField(default=timezone.now)

    objects = BookmarkQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["user", "message"], name="one_bookmark_per_message")]

    def __str__(self) -> str:
        return f"bookmark of message {self.message_id}"

    @classmethod
    def put(cls, user: AbstractUser, message_id: int, *, is_marked: bool) -> Message:
        """Mark a message of the user, or take the mark off. Raises RequestRefused."""
        message = Message.get_for(user, message_id)
        if not is_marked:
            cls.objects.filter(user_id=user.pk, message=message).delete()
        elif cls.objects.filter(user_id=user.pk).count() >= BOOKMARKS_MAX:
            text = _("You have %(limit)d bookmarks, which is the limit. Remove one first.")
            raise RequestRefused("too_many", text % {"limit": BOOKMARKS_MAX})
        else:
            cls.objects.get_or_create(user_id=user.pk, message=message)
        return message
