"""Feedback: a user's thumb up or down on an answer, with reasons and a comment."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.errors import RequestRefused
from chat.models.message import Message
from chat.text import clean

COMMENT_MAX_CHARS = 2_000


class Feedback(models.Model):
    """A user's opinion of one answer. One row per answer and user; it can be changed and taken back."""

    class Value(models.IntegerChoices):
        UP = 1, gettext_lazy("good")
        DOWN = -1, gettext_lazy("bad")

    class Reason(models.TextChoices):
        INCORRECT = "incorrect", gettext_lazy("Not correct")
        UNHELPFUL = "unhelpful", gettext_lazy("Not helpful")
        IGNORED = "ignored", gettext_lazy("Did not follow my request")
        INCOMPLETE = "incomplete", gettext_lazy("Incomplete")
        UNSAFE = "unsafe", gettext_lazy("Unsafe or offensive")
        OTHER = "other", gettext_lazy("Something else")

    message = models.ForeignKey("chat.Message", models.CASCADE, related_name="feedback")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="feedback")
    value = models.SmallIntegerField(gettext_lazy("feedback"), choices=Value)
    # Values of `Reason`.
    reasons = models.JSONField(gettext_lazy("reasons"), default=list, blank=True)
    comment = models.TextField(gettext_lazy("comment"), blank=True, max_length=COMMENT_MAX_CHARS)
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)
    updated_at = models.DateTimeField(gettext_lazy("changed"), default=timezone.now)

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = gettext_lazy("feedback")
        indexes = [models.Index(fields=["message"], condition=Q(value=-1), name="thumbs_down")]
        constraints = [models.UniqueConstraint(fields=["message", "user"], name="feedback_once_per_user")]

    def __str__(self) -> str:
        return f"{self.get_value_display()}: message {self.message_id}"

    @property
    def reason_names(self) -> list[str]:
        """The reasons in words."""
        names = dict(self.Reason.choices)
        return [str(names[reason]) for reason in self.reasons if reason in names]

    @classmethod
    def give(cls, user: AbstractUser, message_id: int, value: int) -> Feedback | None:
        """Store a thumb, or take it back (0). Reasons of the opposite thumb are dropped.

        Raises RequestRefused: `not_found`, `bad_parent` if the message is not a finished answer.
        """
        message = _finished_answer(user, message_id)
        if value not in cls.Value.values:
            cls.objects.filter(message=message, user_id=user.pk).delete()
            return None
        now = timezone.now()
        feedback, is_new = cls.objects.get_or_create(
            message=message, user_id=user.pk, defaults={"value": value, "created_at": now, "updated_at": now}
        )
        if not is_new and feedback.value != value:
            feedback.value, feedback.reasons, feedback.comment, feedback.updated_at = value, [], "", now
            feedback.save()
        return feedback

    def explain(self, reasons: Iterable[str], comment: str) -> None:
        """Store reasons and a comment. Raises RequestRefused `too_long`."""
        comment = clean(comment).strip()
        if len(comment) > COMMENT_MAX_CHARS:
            text = _("The comment is too long: the limit is %(limit)d characters.")
            raise RequestRefused("too_long", text % {"limit": COMMENT_MAX_CHARS})
        given = set(reasons)
        self.reasons = [reason for reason in self.Reason.values if reason in given]
        self.comment = comment
        self.updated_at = timezone.now()
        self.save(update_fields=["reasons", "comment", "updated_at"])


def _finished_answer(user: AbstractUser, message_id: int) -> Message:
    message = Message.get_for(user, message_id)
    if message.role != Message.Role.ASSISTANT or message.generations.active().exists():
        raise RequestRefused("bad_parent", _("Only a finished answer can be rated."))
    return message
