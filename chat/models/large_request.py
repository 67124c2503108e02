"""Requests of programs that are too large for one row: their messages, in slices.

The slices are stored first, each in a transaction of its own, so that no transaction is long. The transaction
that stores the generation then only sets a reference. A crash in between leaves rows without a generation,
which cleanup deletes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
from django.db import connection, models
from django.utils import timezone

# What one transaction of the writer stores. It takes a few milliseconds.
SLICE_BYTES = 256 * 1024
SLICES_PER_CHECKPOINT = 4
# Much longer than a request takes from its first slice to its generation.
ORPHANS_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class StoredMessages:
    """Messages whose slices are stored: the id of their LargeRequest, and the text that pages show."""

    large_request_id: UUID
    text: str


class LargeMessages(msgspec.Struct, frozen=True):
    """Facts about messages that are stored in slices, as part of an ApiRequest."""

    digest: str
    message_count: int
    text_bytes: int


class LargeRequestQuerySet(models.QuerySet["LargeRequest"]):
    def orphaned(self) -> LargeRequestQuerySet:
        """Return those that never got a generation."""
        return self.filter(generation=None, created_at__lt=timezone.now() - ORPHANS_KEPT)


class LargeRequest(models.Model):
    """The owner of the slices of one request; deleted with the generation."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    generation = models.OneToOneField(
        "chat.Generation", models.CASCADE, null=True, related_name="large_request"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = LargeRequestQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(generation=None), name="orphaned_requests")
        ]

    def __str__(self) -> str:
        return f"large request {self.pk}"

    @classmethod
    def add_slice(cls, pk: UUID, number: int, data: bytes) -> None:
        """Store one slice; the first creates the row that owns them. In a transaction."""
        if len(data) > SLICE_BYTES:
            raise ValueError(f"a slice has at most {SLICE_BYTES} bytes, not {len(data)}")
        if number == 0:
            cls.objects.create(pk=pk)
        RequestSlice.objects.create(large_request_id=pk, number=number, data=data)

    @classmethod
    def assign(cls, pk: UUID, generation_id: int) -> None:
        """Make a generation the owner of the stored slices. In the transaction that stores it."""
        if cls.objects.filter(pk=pk, generation=None).update(generation_id=generation_id) != 1:
            raise RuntimeError(f"the slices of large request {pk} are gone")

    @classmethod
    def messages_of(cls, generation_id: int) -> list[bytes]:
        """Return the messages of a generation: JSON objects separated by commas, in slices."""
        slices = RequestSlice.objects.filter(large_request__generation_id=generation_id)
        return list(_one_by_one(slices.order_by("number")))

    @classmethod
    def beginning_of(cls, generation_id: int, chars: int) -> str:
        """Return the beginning of a generation's messages, for display."""
        first = RequestSlice.objects.filter(large_request__generation_id=generation_id, number=0)
        data = first.values_list("data", flat=True).first() or b""
        return bytes(data[: 4 * chars]).decode(errors="ignore")[:chars]

    @classmethod
    def delete_slices(cls, slices: models.QuerySet[RequestSlice], limit: int) -> int:
        """Delete up to `limit` of these slices, and owners that have none left; return how many slices."""
        found = list(slices.order_by("pk").values_list("pk", "large_request_id")[:limit])
        RequestSlice.objects.filter(pk__in=[pk for pk, _owner in found]).delete()
        cls.objects.filter(pk__in={owner for _pk, owner in found}, slices=None).delete()
        return len(found)


class RequestSlice(models.Model):
    """A part of the JSON of a large request's messages, cut anywhere."""

    large_request = models.ForeignKey(LargeRequest, models.CASCADE, related_name="slices")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["large_request", "number"], name="slice_once_per_request")
        ]

    def __str__(self) -> str:
        return f"slice {self.number} of {self.large_request_id}"


def checkpoint() -> None:
    """Copy SQLite's write-ahead log to the database file, on this thread's connection.

    Otherwise every fourth megabyte makes the writer do it, within a commit, which takes 20 ms. This way the
    writer can go on meanwhile.
    """
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _one_by_one(slices: models.QuerySet[RequestSlice]) -> Iterator[bytes]:
    """Read one slice per query: the rows of one fetch would be copied in one step."""
    for pk in list(slices.values_list("pk", flat=True)):
        yield bytes(RequestSlice.objects.values_list("data", flat=True).get(pk=pk))
