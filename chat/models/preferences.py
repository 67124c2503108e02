"""What a user has set for all conversations."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxLengthValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models import limits
from chat.models.catalog import Model

# More would be no choice any more, and the list is read with each page.
FAVOURITES_MAX = 100


class Preferences(models.Model):
    """One row per user who has changed something. What belongs to one device is in cookies."""

    class TextSize(models.TextChoices):
        SMALL = "small", _("Small")
        NORMAL = "normal", _("Normal")
        LARGE = "large", _("Large")

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="preferences"
    )
    text_size = models.CharField(
        _("text size"), max_length=10, choices=TextSize, default=TextSize.NORMAL, db_default=TextSize.NORMAL
    )
    # The system prompt of new conversations.
    instructions = models.TextField(
        _("custom instructions"),
        blank=True,
        default="",
        db_default="",
        validators=[MaxLengthValidator(limits.SYSTEM_PROMPT_MAX_CHARS)],
    )
    # The model of new conversations; null: the site's default.
    model = models.ForeignKey(
        Model, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("model")
    )
    # Ids of models that are at the top of the menu.
    favourite_models = models.JSONField(default=list, blank=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of user {self.pk}"

    @classmethod
    def of(cls, user: AbstractUser) -> Preferences:
        """Return the stored preferences of a user, or new ones that are not stored yet."""
        return cls.objects.filter(pk=user.pk).first() or cls(user_id=user.pk)

    def toggle_favourite(self, model_id: int) -> None:
        """Add a model to the favourites, or remove it."""
        rest = [each for each in self.favourite_models if each != model_id]
        if len(rest) == len(self.favourite_models):
            rest = [*rest, model_id][-FAVOURITES_MAX:]
        self.favourite_models = rest
        self.save()
