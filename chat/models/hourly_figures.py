"""Hourly figures: what the dashboard adds up, so that it never reads the answers themselves.

`chat.usage.rollup` makes the rows of an hour from the answers that ended in it.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models

# First texts are counted by these limits in seconds; later ones are in the last, open class. Each is a fifth
# longer than the one before, so that a percentile is right to 10 %.
LIMITS_S = [round(0.05 * 1.2**step, 4) for step in range(48)]


class HourlyFigures(models.Model):
    """The answers of one model that ended in one hour, of the users of one group or of all users."""

    hour = models.DateTimeField()
    model_name = models.CharField(max_length=200, blank=True)
    # Null: all users. A user may be in several groups.
    group = models.ForeignKey("auth.Group", models.CASCADE, null=True, related_name="+")
    answers = models.PositiveIntegerField(default=0)
    conversations = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    recovered = models.PositiveIntegerField(default=0)
    thumbs_up = models.PositiveIntegerField(default=0)
    thumbs_down = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=16, decimal_places=6, default=0)
    # Counts of answers by the time to their first text, one for each of LIMITS_S and one more.
    first_text = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["group", "hour"], name="figures_by_group")]
        constraints = [
            models.UniqueConstraint(fields=["hour", "model_name", "group"], name="figures_once_per_hour")
        ]

    def __str__(self) -> str:
        return f"{self.hour} {self.model_name}"


class ActiveDay(models.Model):
    """A day (UTC) on which a user got an answer."""

    day = models.DateField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "user"], name="active_once_per_day")]

    def __str__(self) -> str:
        return f"{self.user_id} on {self.day}"
