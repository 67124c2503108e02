"""Imports: what users brought from other programs, and a report of each conversation in it."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused
from chat.models.ids import uuid7
from chat.models.limits import lock_user

# A run stores its progress several times a second. After this long without, another process may take over.
ABANDONED_AFTER = timedelta(seconds=30)
# An upload that nobody goes on with.
UPLOAD_KEPT = timedelta(days=1)
REPORT_KEPT = timedelta(days=90)


# What a process works on.
BUSY = ("running", "undoing")


class ConversationImportQuerySet(models.QuerySet["ConversationImport"]):
    def of(self, user: AbstractUser) -> ConversationImportQuerySet:
        return self.filter(user_id=user.pk)

    def runnable(self) -> ConversationImportQuerySet:
        """Return those that wait, and those whose process has ended."""
        waiting = Q(status=ConversationImport.Status.WAITING)
        return self.filter(waiting | Q(status__in=BUSY, changed_at__lt=timezone.now() - ABANDONED_AFTER))

    def running(self) -> ConversationImportQuerySet:
        """Return those that a living process runs."""
        return self.filter(status__in=BUSY, changed_at__gte=timezone.now() - ABANDONED_AFTER)

    def get_for(self, user: AbstractUser, pk: uuid.UUID) -> ConversationImport:
        """Return an import of the user. Raises RequestRefused `not_found`."""
        found = self.of(user).filter(pk=pk).first()
        if found is None:
            raise RequestRefused("not_found", str(_("This import does not exist.")))
        return found


class ConversationImport(models.Model):
    """One file that a user imports, and how far the import is."""

    class Status(models.TextChoices):
        UPLOADING = "uploading", _("uploading")
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("ended early")
        UNDOING = "undoing", _("being undone")
        UNDONE = "undone", _("undone")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="imports")
    file_name = models.CharField(_("file"), max_length=200)
    size_bytes = models.PositiveBigIntegerField(_("size (bytes)"), default=0)
    received_bytes = models.PositiveBigIntegerField(default=0)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.UPLOADING)
    # How often a process began to run it. Guards every write of a run.
    epoch = models.PositiveIntegerField(default=0)
    # The number of the last conversation in the file that is dealt with; a later run continues after it.
    position = models.PositiveIntegerField(default=0)
    done_bytes = models.PositiveBigIntegerField(default=0)
    total_bytes = models.PositiveBigIntegerField(default=0)
    imported = models.PositiveIntegerField(_("imported"), default=0)
    updated = models.PositiveIntegerField(_("updated"), default=0)
    unchanged = models.PositiveIntegerField(_("known already"), default=0)
    skipped = models.PositiveIntegerField(_("skipped"), default=0)
    messages_count = models.PositiveIntegerField(_("messages"), default=0)
    # Of an import that was undone: conversations that stay, because the user wrote in them.
    kept = models.PositiveIntegerField(default=0)
    # Why it ended early, in words.
    problem = models.CharField(_("problem"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    objects = ConversationImportQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["changed_at"], condition=Q(finished_at=None), name="imports_in_progress")
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_active(self) -> bool:
        return self.status in {self.Status.WAITING, self.Status.RUNNING, self.Status.UNDOING}

    @property
    def can_be_undone(self) -> bool:
        return self.status in {self.Status.DONE, self.Status.FAILED} and bool(self.imported + self.updated)

    @property
    def percent(self) -> int:
        """How much of the file is read."""
        return min(100, round(100 * self.done_bytes / self.total_bytes)) if self.total_bytes else 0

    @classmethod
    def claim(cls, pk: uuid.UUID) -> ConversationImport | None:
        """Begin or continue a run of an import, if no living process has it. In a transaction.

        The imports of a user run one after the other: two that meet the same new conversation would both
        store it.
        """
        found = cls.objects.runnable().filter(pk=pk).first()
        if found is None:
            return None
        lock_user(found.user_id)
        if cls.objects.running().filter(user_id=found.user_id).exists():
            return None
        status = cls.Status.UNDOING if found.status == cls.Status.UNDOING else cls.Status.RUNNING
        changed = cls.objects.runnable().filter(pk=pk, epoch=found.epoch)
        if not changed.update(status=status, epoch=found.epoch + 1, changed_at=timezone.now()):
            return None
        found.refresh_from_db()
        return found


class ImportReportRow(models.Model):
    """What became of one conversation of a file."""

    class Outcome(models.TextChoices):
        IMPORTED = "imported", _("imported")
        UPDATED = "updated", _("updated")
        UNCHANGED = "unchanged", _("known already")
        SKIPPED = "skipped", _("skipped")

    conversation_import = models.ForeignKey(ConversationImport, models.CASCADE, related_name="report")
    # Its place in the file, from 1.
    number = models.PositiveIntegerField()
    outcome = models.CharField(max_length=10, choices=Outcome)
    conversation = models.ForeignKey("chat.Conversation", models.SET_NULL, null=True, related_name="+")
    # Of a skipped one; others have the title of their conversation.
    title = models.CharField(max_length=200, blank=True)
    # Why it was skipped.
    reason = models.CharField(max_length=300, blank=True)
    # So many in a row were skipped for the same reason.
    count = models.PositiveIntegerField(default=1)
    messages_added = models.PositiveIntegerField(default=0)
    # What was left out of it, by kind: how often.
    left_out = models.JSONField(default=dict)
    # The end of the shown branch before.
    previous_leaf_id = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation_import", "number"], name="one_report_per_conversation"
            )
        ]

    def __str__(self) -> str:
        return f"{self.outcome}: {self.conversation or self.title}"


class ImportedConversation(models.Model):
    """Where a conversation came from. `source_id` is the id that it had there."""

    conversation = models.OneToOneField(
        "chat.Conversation", models.CASCADE, primary_key=True, related_name="imported"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    source = models.CharField(max_length=20)
    source_id = models.CharField(max_length=110)
    # The model's name there.
    model_name = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [models.Index(fields=["user", "source", "source_id"], name="imported_by_source")]


class ImportedMessage(models.Model):
    """Where a message came from, and what was said there about how it was made. It has no generation."""

    message = models.OneToOneField("chat.Message", models.CASCADE, primary_key=True, related_name="imported")
    conversation_import = models.ForeignKey(
        ConversationImport, models.SET_NULL, null=True, related_name="messages"
    )
    source_id = models.CharField(max_length=100)
    model_name = models.CharField(max_length=200, blank=True)
    # Names of files that the message refers to and that were not imported.
    files = models.JSONField(default=list)
    # Why the answer is not complete; empty: it is, as far as is known.
    problem = models.CharField(max_length=500, blank=True)
    # Of our own format: the generations, as exported.
    runs = models.JSONField(null=True)
