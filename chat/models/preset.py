"""Presets and the prompt library: what people write again and again. Of one user, or shared by staff."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from chat.models import limits
from chat.models.catalog import Model

# Of one user. The lists are shown whole.
ENTRIES_MAX = 500


class _Shareable[Row: models.Model](models.QuerySet[Row]):
    def usable_by(self, user: AbstractUser) -> _Shareable[Row]:
        """Return the user's own ones, and those that staff share with everybody or a group of the user."""
        mine = Q(user_id=user.pk)
        groups = user.groups.values_list("pk", flat=True)
        shared = Q(user=None) & (Q(groups=None) | Q(groups__in=groups))
        return self.filter(mine | shared).distinct().order_by("name", "pk")

    def of(self, user: AbstractUser) -> _Shareable[Row]:
        """Return those that the user may change."""
        return self.filter(user_id=user.pk).order_by("name", "pk")


class _LibraryEntry(models.Model):
    # Null: shared by staff, with `groups`, or with everybody if there are none.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, editable=False, related_name="+"
    )
    groups = models.ManyToManyField(
        Group,
        blank=True,
        related_name="+",
        verbose_name=_("groups"),
        help_text=_("Who can use it. If empty, everybody can."),
    )
    name = models.CharField(_("name"), max_length=80)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class PresetQuerySet(_Shareable["Preset"]):
    pass


class Preset(_LibraryEntry):
    """A model, a system prompt and a temperature to start a conversation with."""

    model = models.ForeignKey(
        Model, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("model")
    )
    system_prompt = models.TextField(
        _("system prompt"), blank=True, validators=[MaxLengthValidator(limits.SYSTEM_PROMPT_MAX_CHARS)]
    )
    temperature = models.FloatField(
        _("temperature"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(limits.TEMPERATURE_MAX)],
    )

    objects = PresetQuerySet.as_manager()


class SavedPromptQuerySet(_Shareable["SavedPrompt"]):
    pass


class SavedPrompt(_LibraryEntry):
    """A message to send again, with {{variables}} to fill in. The composer offers it after a `/`."""

    text = models.TextField(
        _("text"),
        validators=[MaxLengthValidator(limits.SYSTEM_PROMPT_MAX_CHARS)],
        help_text=_("Write {{topic}} for a part that changes; it is asked for each time."),
    )

    objects = SavedPromptQuerySet.as_manager()
