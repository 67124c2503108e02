"""Embedding calls: what programs used of embedding models. Their texts and vectors are not kept."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class EmbeddingCall(models.Model):
    """One request for embeddings that reached a model, or failed there."""

    # Long enough for the bills of a quarter.
    KEPT = timedelta(days=120)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="embedding_calls")
    api_key = models.ForeignKey(
        "chat.ApiKey",
        models.SET_NULL,
        null=True,
        related_name="embedding_calls",
        verbose_name=_("API key"),
        db_index=False,
    )
    model_name = models.CharField(_("model"), max_length=200)
    endpoint_name = models.CharField(_("endpoint"), max_length=80)
    # How many texts, and how often the model was called for them.
    inputs = models.PositiveIntegerField(_("inputs"))
    calls = models.PositiveSmallIntegerField(_("calls"), default=0)
    input_tokens = models.PositiveIntegerField(_("input tokens"), null=True)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=12, decimal_places=6, null=True)
    # Empty: it succeeded.
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    duration_s = models.FloatField(_("duration (s)"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["api_key", "created_at"])]

    def __str__(self) -> str:
        return f"embedding call {self.pk}"

    @classmethod
    def delete_old(cls, rows: int) -> int:
        """Delete up to `rows` rows that are older than KEPT; return how many."""
        old = cls.objects.filter(created_at__lt=timezone.now() - cls.KEPT).order_by("created_at")
        deleted, _by_model = cls.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:rows])).delete()
        return deleted
