"""Hourly usage: what the pages of usage add up. `chat.usage.hourly` makes the rows from the calls.

Rows stay when answers, users or keys are deleted: what was paid for remains known.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class HourlyUsage(models.Model):
    """What the calls of one user to one model used in answers that ended in one hour."""

    # A source of its own, beside those of `Generation`.
    EMBEDDINGS = "embeddings"

    hour = models.DateTimeField(_("hour"))
    # Null: the user was deleted.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    api_key = models.ForeignKey("chat.ApiKey", models.SET_NULL, null=True, related_name="+")
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    source = models.CharField(_("source"), max_length=10)
    # Of answers by the model that was asked for; the rest by the model that was called.
    answers = models.PositiveIntegerField(_("answers"), default=0)
    calls = models.PositiveIntegerField(_("calls"), default=0)
    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0)
    cached_tokens = models.PositiveBigIntegerField(_("cached input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    reasoning_tokens = models.PositiveBigIntegerField(_("reasoning tokens"), default=0)
    # Input and output of calls whose usage is an estimate.
    estimated_tokens = models.PositiveBigIntegerField(_("estimated tokens"), default=0)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=16, decimal_places=6, default=0)
    # Calls with tokens and without prices.
    unpriced_calls = models.PositiveIntegerField(_("calls without prices"), default=0)

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        indexes = [
            models.Index(fields=["hour"], name="usage_by_hour"),
            models.Index(fields=["user", "hour"], name="usage_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.hour} {self.model_name}"
