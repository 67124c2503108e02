"""Files of projects: a few documents whose text goes into each prompt of the project's conversations."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Max, Sum
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.attachment import Attachment
from chat.models.project import Project
from chat.models.stored_content import LONG_AGO

FILES_MAX = 20


class ProjectFile(models.Model):
    """That a project has a file."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="files", db_index=False)
    attachment = models.ForeignKey(Attachment, models.CASCADE, related_name="project_uses")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["project", "position", "pk"]
        constraints = [models.UniqueConstraint(fields=["project", "attachment"], name="once_in_a_project")]

    def __str__(self) -> str:
        return f"{self.attachment_id} of project {self.project_id}"

    @classmethod
    def add(cls, project: Project, attachment: Attachment) -> None:
        """Add a file to a project, once. In a transaction.

        Raises RequestRefused: `no_text` for pictures and scans, `too_many_files`.
        """
        if not attachment.text.strip():
            raise RequestRefused(
                "no_text", _("A project takes documents with text. There is none in this file.")
            )
        own = cls.objects.filter(project=project)
        if own.count() >= FILES_MAX:
            text = _("A project can have %(limit)d files. Remove one first.")
            raise RequestRefused("too_many_files", text % {"limit": FILES_MAX})
        last = own.aggregate(last=Max("position"))["last"] or 0
        cls.objects.get_or_create(project=project, attachment=attachment, defaults={"position": last + 1})
        Attachment.objects.filter(pk=attachment.pk).update(unused_since=None)

    @classmethod
    def remove(cls, project: Project, attachment_id: uuid.UUID) -> None:
        """Take a file out of a project; it is deleted if nothing else needs it."""
        for row in cls.objects.filter(project=project, attachment=attachment_id):
            row.delete()

    @classmethod
    def of(cls, project_id: int) -> list[Attachment]:
        """Return the files of a project with their texts, in their order."""
        rows = cls.objects.filter(project=project_id).select_related("attachment")
        return [row.attachment for row in rows]

    @classmethod
    def tokens_of(cls, project_id: int | None) -> int:
        """Return what the files of a project cost in each prompt. No query without a project."""
        if project_id is None:
            return 0
        own = cls.objects.filter(project=project_id)
        return own.aggregate(total=Sum("attachment__tokens"))["total"] or 0


@receiver(post_delete, sender=ProjectFile)
def _note_unused(instance: ProjectFile, **_kwargs: Any) -> None:
    """Let cleanup look at what may have lost its last project or message."""
    Attachment.objects.filter(pk=instance.attachment_id).update(unused_since=LONG_AGO)
