"""Call-backs: who may be told that a background answer is over, and what is still to be told."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta

from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from chat.models.catalog import validate_base_url
from chat.models.conversation import uuid7
from chat.models.generation import Generation

# The first wait; each is twice the one before, up to the longest.
BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_CAP = timedelta(hours=1)
GIVEN_UP_AFTER = timedelta(hours=24)


def new_salt() -> str:
    return secrets.token_urlsafe(12)


class Receiver(models.Model):
    """An address that staff allow call-backs to."""

    url = models.CharField(
        _("URL"),
        max_length=500,
        unique=True,
        validators=[validate_base_url],
        help_text=_("A request names exactly this address as its callback_url."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        ordering = ["url"]
        verbose_name = _("call-back receiver")
        verbose_name_plural = _("call-back receivers")

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """What its call-backs are signed with. Derived from the site's own secret, and not stored."""
        digest = salted_hmac("chat.Receiver", f"{self.pk}:{self.salt}", algorithm="sha256").digest()
        return "whsec_" + base64.b64encode(digest).decode()

    def renew_secret(self) -> None:
        self.salt = new_salt()
        self.save(update_fields=["salt"])


class CallbackQuerySet(models.QuerySet["Callback"]):
    def due(self) -> CallbackQuerySet:
        """Return those whose generation is over and that are to be sent now."""
        return self.filter(
            delivered_at=None, given_up_at=None, next_try_at__lte=timezone.now(), receiver__is_enabled=True
        ).exclude(generation__status__in=Generation.ACTIVE)


class Callback(models.Model):
    """Word of a generation's end, to be delivered at least once. Its id lets receivers drop repeats."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    generation = models.OneToOneField(Generation, models.CASCADE, related_name="callback")
    receiver = models.ForeignKey(Receiver, models.CASCADE, related_name="callbacks")
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    objects = CallbackQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("call-back")
        verbose_name_plural = _("call-backs")
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=models.Q(delivered_at=None, given_up_at=None),
                name="callbacks_to_deliver",
            )
        ]

    def __str__(self) -> str:
        return f"call-back {self.pk}"

    def take(self) -> bool:
        """Count a try and set the time of the next one; False if another process was first."""
        wait = min(BACKOFF_FIRST * 2 ** min(self.attempts, 20), BACKOFF_CAP)
        mine = Callback.objects.filter(pk=self.pk, attempts=self.attempts, delivered_at=None)
        return mine.update(attempts=F("attempts") + 1, next_try_at=timezone.now() + wait) == 1

    def delivered(self) -> None:
        Callback.objects.filter(pk=self.pk).update(delivered_at=timezone.now(), last_error="")

    def failed(self, error: str) -> None:
        """Note why it could not be delivered; after a day, give it up."""
        ended_at = self.generation.finished_at or self.created_at
        given_up_at = timezone.now() if timezone.now() - ended_at > GIVEN_UP_AFTER else None
        Callback.objects.filter(pk=self.pk).update(last_error=error[:300], given_up_at=given_up_at)
