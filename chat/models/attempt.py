"""Attempts: one row for each upstream call of a generation."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Attempt(models.Model):
    """One upstream call of a generation."""

    class Outcome(models.TextChoices):
        RUNNING = "running", _("running")
        COMPLETED = "completed", _("completed")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("failed")
        LOST = "lost", _("process died")

    class Recovery(models.TextChoices):
        CONTINUE = "continue", _("continue")
        RESTART = "restart", _("restart")

    generation = models.ForeignKey("chat.Generation", models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField(_("number"))
    epoch = models.PositiveIntegerField(_("epoch"), default=0)
    model_name = models.CharField(_("model"), max_length=200)
    endpoint_name = models.CharField(_("endpoint"), max_length=80, blank=True)
    # How this attempt treats the text of earlier ones. Empty: there was no text.
    recovery = models.CharField(_("recovery"), max_length=10, choices=Recovery, blank=True, db_default="")
    # Characters of the answer before this attempt.
    before_chars = models.PositiveIntegerField(_("characters before"), default=0, db_default=0)
    # The endpoint's name for the call, by which its usage can be looked up there; of calls that completed.
    request_id = models.CharField(_("request ID"), max_length=80, blank=True, db_default="")
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome, default=Outcome.RUNNING)
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    # The endpoint's message, redacted. Staff see it, the user does not.
    error_detail = models.TextField(_("error detail"), blank=True)
    # Parameters that were left out or sent in another form, because the model does not accept them.
    left_out = models.CharField(_("left out"), max_length=200, blank=True, db_default="")
    wait_s = models.FloatField(_("backoff (s)"), default=0)
    # Time in the admission queue just before this call.
    queued_s = models.FloatField(_("time in queue (s)"), default=0, db_default=0)
    # Text up to the end of this attempt, which a restart then removed from the answer.
    abandoned_text = models.TextField(_("discarded text"), blank=True)
    # Tool calls up to the end of this attempt, which a restart then removed, as in `Message.tool_calls`.
    abandoned_calls = models.JSONField(_("discarded tool calls"), null=True, blank=True)
    # Tokens as the endpoint counts them; null: nothing is known to have been used. The last two are parts of
    # the first two. Of a call that was cut, or whose endpoint reports nothing, they are an estimate.
    input_tokens = models.PositiveIntegerField(_("input tokens"), null=True, blank=True)
    output_tokens = models.PositiveIntegerField(_("output tokens"), null=True, blank=True)
    cached_tokens = models.PositiveIntegerField(_("cached input tokens"), null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(_("reasoning tokens"), null=True, blank=True)
    is_usage_estimated = models.BooleanField(_("estimated"), default=False, db_default=False)
    # At the prices of the day.
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=12, decimal_places=6, null=True, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    first_delta_at = models.DateTimeField(_("first delta"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        ordering = ["generation", "number"]
        constraints = [
            models.UniqueConstraint(fields=["generation", "number"], name="one_attempt_per_number")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of generation {self.generation_id}"

    @property
    def duration_s(self) -> float | None:
        """Seconds from the start of the call to its end."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None
