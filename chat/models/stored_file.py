"""Files that programs upload, in slices, so that no transaction is long and none is read as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models.api_key import ApiKey
from chat.models.ids import uuid7

SLICE_BYTES = 256 * 1024
KEPT = timedelta(days=30)


class StoredFileQuerySet(models.QuerySet["StoredFile"]):
    def of(self, user: AbstractUser) -> StoredFileQuerySet:
        """Return the complete files of a user."""
        return self.filter(user_id=user.pk, is_complete=True)

    def erase(self) -> None:
        """Hide these; cleanup deletes them next."""
        self.update(is_complete=False, created_at=timezone.now() - KEPT)


class StoredFile(models.Model):
    """A file of one user. `purpose`: as in the API, such as `batch`."""

    WIRE_PREFIX = "file-"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="stored_files")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(_("name"), max_length=200)
    purpose = models.CharField(_("purpose"), max_length=40)
    size_bytes = models.PositiveBigIntegerField(_("size (bytes)"), default=0)
    # Whether all slices are there.
    is_complete = models.BooleanField(default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)

    objects = StoredFileQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("stored file")

    def __str__(self) -> str:
        return self.name

    @property
    def wire_id(self) -> str:
        return self.wire_id_of(self.pk)

    @classmethod
    def wire_id_of(cls, pk: UUID) -> str:
        """Return the id of a file, of this kind or an attachment, in the API."""
        return f"{cls.WIRE_PREFIX}{pk.hex}"

    @classmethod
    def add_slice(cls, pk: UUID, number: int, data: bytes) -> None:
        """Store one slice. In a transaction."""
        FileSlice.objects.create(file_id=pk, number=number, data=data)

    def slices(self) -> Iterator[bytes]:
        """Yield the content, one slice per query."""
        for pk in list(self.parts.order_by("number").values_list("pk", flat=True)):
            yield bytes(FileSlice.objects.values_list("data", flat=True).get(pk=pk))

    @classmethod
    def delete_outdated(cls, limit: int) -> int:
        """Delete some slices of files that are no longer kept; return `limit` if there may be more."""
        old = cls.objects.filter(created_at__lt=timezone.now() - KEPT).order_by("created_at")
        found = list(old.values_list("pk", flat=True)[:limit])
        parts = FileSlice.objects.filter(file__in=found).values_list("pk", flat=True)
        some = list(parts[: max(1, limit // 25)])
        FileSlice.objects.filter(pk__in=some).delete()
        if not some:
            cls.objects.filter(pk__in=found).delete()
        return limit if some else 0


class FileSlice(models.Model):
    """A part of a file, of at most SLICE_BYTES."""

    file = models.ForeignKey(StoredFile, models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="file_slice_once")]

    def __str__(self) -> str:
        return f"slice {self.number} of {self.file_id}"
