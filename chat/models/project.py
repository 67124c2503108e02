"""Projects: folders of conversations, with what new conversations in them start with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxLengthValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import limits
from chat.models.catalog import Model

# The list is on each page.
PROJECTS_MAX = 200
# How long a temporary conversation is kept after its first message.
TEMPORARY_KEPT = timedelta(days=1)


class ProjectQuerySet(models.QuerySet["Project"]):
    def of(self, user: AbstractUser) -> ProjectQuerySet:
        """Return the projects of a user, by name."""
        return self.filter(user_id=user.pk).order_by("name", "pk")


class Project(models.Model):
    """A folder of one user. A conversation keeps what it started with when the project changes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="projects")
    name = models.CharField(_("name"), max_length=80)
    # The system prompt of new conversations in it.
    instructions = models.TextField(
        _("instructions"), blank=True, validators=[MaxLengthValidator(limits.SYSTEM_PROMPT_MAX_CHARS)]
    )
    # The model of new conversations in it; null: as without the project.
    model = models.ForeignKey(
        Model, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("model")
    )

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="one_project_per_name")]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def placing(cls, user: AbstractUser, project_id: int | None, is_temporary: bool) -> dict[str, Any]:
        """Return the fields that say where a new conversation is listed, and how long it is kept."""
        return {
            "project": None if project_id is None else cls.get_for(user, project_id),
            "expires_at": timezone.now() + TEMPORARY_KEPT if is_temporary else None,
        }

    @classmethod
    def get_for(cls, user: AbstractUser, project_id: int) -> Project:
        """Return a project of the user. Raises RequestRefused `not_found`."""
        found = cls.objects.of(user).filter(pk=project_id).first()
        if found is None:
            raise limits.not_found()
        return found
