"""The lines of a batch: one request each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy

from chat.models import rows
from chat.models.generation import Generation


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line that is not stored yet; see the columns of `BatchLine`."""

    number: int
    custom_id: str
    cells: list[str] = field(default_factory=list)
    prompt: str = ""
    request: dict[str, Any] | None = None


class BatchLine(models.Model):
    """One request of a batch: what was uploaded, what is sent, and how it ended."""

    class State(models.TextChoices):
        WAITING = "waiting", gettext_lazy("waiting")
        RUNNING = "running", gettext_lazy("running")
        COMPLETED = "completed", gettext_lazy("completed")
        FAILED = "failed", gettext_lazy("failed")
        EXPIRED = "expired", gettext_lazy("expired")
        CANCELLED = "cancelled", gettext_lazy("cancelled")

    OPEN = (State.WAITING, State.RUNNING)
    UNSUCCESSFUL = (State.FAILED, State.EXPIRED, State.CANCELLED)

    batch = models.ForeignKey("chat.Batch", models.CASCADE, related_name="lines", db_index=False)
    # From 1, in the order of the upload.
    number = models.PositiveIntegerField()
    custom_id = models.CharField(max_length=200)
    # The original values, in the order of the batch's columns.
    cells = models.JSONField(default=list)
    prompt = models.TextField(blank=True)
    # An `ApiRequest`; null: the prompt is sent.
    request = models.JSONField(null=True)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    error_code = models.CharField(max_length=60, blank=True)
    # Why it did not complete.
    reason = models.TextField(blank=True)
    generation = models.ForeignKey(
        Generation, models.SET_NULL, null=True, blank=True, related_name="batch_lines"
    )

    class Meta:
        ordering = ["batch", "number"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "number"], name="one_line_per_number"),
            models.UniqueConstraint(fields=["batch", "custom_id"], name="one_line_per_custom_id"),
        ]
        indexes = [models.Index(fields=["batch", "state", "number"])]

    def __str__(self) -> str:
        return f"line {self.number} of {self.batch_id}"

    @classmethod
    def store(cls, batch_id: UUID, lines: Iterable[NewLine]) -> None:
        """Insert lines that wait. In a transaction. The ORM would take several times as long."""
        values = ([getattr(line, name) for name in _OF_NEW_LINE] for line in lines)
        same = {"batch_id": batch_id, "state": cls.State.WAITING, "tries": 0, "error_code": "", "reason": ""}
        rows.insert_many(cls, _OF_NEW_LINE, values, same)

    def client_id(self) -> str:
        """The id under which its generation is stored once, however often that is tried."""
        return f"batch-{self.batch_id.hex}-{self.number}-{self.tries}"

    def end(self, state: str, *, code: str = "", reason: str = "") -> None:
        """Set how it ended; does not save."""
        self.state, self.error_code, self.reason = state, code, reason


_OF_NEW_LINE = tuple(each.name for each in fields(NewLine))
