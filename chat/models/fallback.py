"""Fallbacks: the models that may answer in place of another one."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models.catalog import Model


class Fallback(models.Model):
    """A model that may answer in place of another one. Without such a row, a model has no fallback."""

    model = models.ForeignKey(Model, models.CASCADE, related_name="fallbacks")
    fallback = models.ForeignKey(Model, models.CASCADE, related_name="+", verbose_name=_("fallback"))
    position = models.PositiveSmallIntegerField(
        _("position"), default=0, help_text=_("The lowest position is tried first.")
    )

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["model", "fallback"], name="one_row_per_fallback"),
            models.CheckConstraint(condition=~models.Q(model=models.F("fallback")), name="another_model"),
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.fallback}"

    def clean(self) -> None:
        if not self.fallback_id or not self.model.endpoint_id:
            return  # the form reports the missing field
        if self.fallback_id == self.model.pk:
            raise ValidationError({"fallback": _("A model cannot be its own fallback.")})
        if self.model.endpoint.confidentiality != self.fallback.endpoint.confidentiality:
            raise ValidationError(
                {"fallback": _("The endpoint of this model has a different confidentiality class.")}
            )
