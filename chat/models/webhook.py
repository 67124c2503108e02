"""Webhooks: the endpoints that staff allow, and the deliveries that are due, done or given up."""

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
from chat.models.generation import Generation
from chat.models.ids import uuid7

# The wait before the first retry; it doubles with each attempt, up to the cap.
BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_CAP = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(hours=24)
# Part of every signing secret. The model had another name when it was chosen; another value would
# invalidate the secrets that endpoints already use.
SECRET_SALT = "chat.Receiver"  # noqa: S105 - not a secret


def new_salt() -> str:
    return secrets.token_urlsafe(12)


class WebhookEndpoint(models.Model):
    """A URL that staff allow webhooks to be sent to."""

    url = models.CharField(
        _("URL"),
        max_length=500,
        unique=True,
        validators=[validate_base_url],
        help_text=_("Requests must give exactly this URL as callback_url."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        ordering = ["url"]
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """The signing secret of this endpoint, derived from SECRET_KEY and `salt` and not stored."""
        digest = salted_hmac(SECRET_SALT, f"{self.pk}:{self.salt}", algorithm="sha256").digest()
        return "whsec_" + base64.b64encode(digest).decode()

    def renew_secret(self) -> None:
        """Replace the signing secret. Webhooks that are sent from now on use the new one."""
        self.salt = new_salt()
        self.save(update_fields=["salt"])


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def due(self) -> WebhookQuerySet:
        """Return webhooks to send now: the generation is final and the next attempt is due."""
        return self.filter(
            delivered_at=None,
            given_up_at=None,
            next_try_at__lte=timezone.now(),
            endpoint__is_enabled=True,
            generation__finished_at__isnull=False,
        )


class Webhook(models.Model):
    """A notice that a generation is final, delivered at least once. Endpoints drop repeats by its id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    generation = models.OneToOneField(Generation, models.CASCADE, related_name="webhook")
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="webhooks")
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_try_at = models.DateTimeField(_("next attempt"), default=timezone.now)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=models.Q(delivered_at=None, given_up_at=None),
                name="webhooks_to_deliver",
            )
        ]

    def __str__(self) -> str:
        return f"webhook {self.pk}"

    def claim_attempt(self) -> bool:
        """Count an attempt and schedule the next one. Return False if another process did so first."""
        wait = min(BACKOFF_FIRST * 2 ** min(self.attempts, 20), BACKOFF_CAP)
        unclaimed = Webhook.objects.filter(pk=self.pk, attempts=self.attempts, delivered_at=None)
        return unclaimed.update(attempts=F("attempts") + 1, next_try_at=timezone.now() + wait) == 1

    def mark_delivered(self) -> None:
        Webhook.objects.filter(pk=self.pk).update(delivered_at=timezone.now(), last_error="")

    def mark_failed(self, error: str) -> None:
        """Store why the attempt failed. Give up if the generation ended more than a day ago."""
        ended_at = self.generation.finished_at or self.created_at
        given_up_at = timezone.now() if timezone.now() - ended_at > GIVE_UP_AFTER else None
        Webhook.objects.filter(pk=self.pk).update(last_error=error[:300], given_up_at=given_up_at)
