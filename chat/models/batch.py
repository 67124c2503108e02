"""Batches: many requests of one user to one model, and what became of each."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.errors import RequestRefused
from chat.models.api_key import ApiKey
from chat.models.api_request import ApiRequest
from chat.models.batch_line import BatchLine
from chat.models.catalog import Model
from chat.models.ids import uuid7

# The uploaded rows and what is known of them. The answers are kept like others of programs.
KEPT = timedelta(days=90)
# Much longer than an upload takes.
STORING_KEPT = timedelta(days=1)


class BatchQuerySet(models.QuerySet["Batch"]):
    def of(self, user: AbstractUser) -> BatchQuerySet:
        """Return those that a user made. Questions of chats are in their conversations."""
        own = self.filter(user_id=user.pk, is_question=False, erasing_since=None)
        return own.exclude(status=Batch.Status.STORING)

    def erase(self) -> None:
        """Hide these, cancel those that are active, and have all deleted when they have ended."""
        now, stopped = timezone.now(), (Batch.Status.RUNNING, Batch.Status.PAUSED)
        self.filter(status__in=stopped).update(status=Batch.Status.CANCELLING, next_look_at=now)
        self.update(erasing_since=now)

    def outdated(self) -> BatchQuerySet:
        """Return those that are no longer kept: long ended, never started, or cut off while being stored."""
        from chat.models.retention import LegalHold

        now = timezone.now()
        held = LegalHold.objects.active().filter(user__isnull=False).values("user")
        return self.filter(
            Q(finished_at__lt=now - KEPT)
            | Q(status=Batch.Status.READY, created_at__lt=now - KEPT)
            | Q(status=Batch.Status.STORING, created_at__lt=now - STORING_KEPT)
            | Q(Q(erasing_since__isnull=False) & ~Q(status__in=Batch.ACTIVE) & ~Q(user__in=held))
        ).order_by("created_at")

    def due(self) -> BatchQuerySet:
        """Return those at which there is something to do now."""
        return self.filter(next_look_at__lte=timezone.now())


class Batch(models.Model):
    """Requests of one user, as lines. Its counts are those of its lines, kept by `record`."""

    class Status(models.TextChoices):
        STORING = "storing", gettext_lazy("being stored")
        READY = "ready", gettext_lazy("not started")
        RUNNING = "in_progress", gettext_lazy("in progress")
        PAUSED = "paused", gettext_lazy("paused")
        CANCELLING = "cancelling", gettext_lazy("being cancelled")
        COMPLETED = "completed", gettext_lazy("completed")
        FAILED = "failed", gettext_lazy("failed")
        EXPIRED = "expired", gettext_lazy("expired")
        CANCELLED = "cancelled", gettext_lazy("cancelled")

    class Runner(models.TextChoices):
        LOCAL = "local", gettext_lazy("here, one call per row")
        PROVIDER = "provider", gettext_lazy("by the provider, at its batch price")

    ENDED = (Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED)
    ACTIVE = (Status.RUNNING, Status.PAUSED, Status.CANCELLING)
    WIRE_PREFIX = "batch_"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="batches", db_index=False)
    api_key = models.ForeignKey(
        ApiKey, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=gettext_lazy("API key")
    )
    name = models.CharField(gettext_lazy("name"), max_length=200)
    model = models.ForeignKey(Model, models.SET_NULL, null=True, blank=True, related_name="+")
    model_name = models.CharField(gettext_lazy("model"), max_length=200)
    runner = models.CharField(gettext_lazy("run"), max_length=10, choices=Runner, default=Runner.LOCAL)
    status = models.CharField(gettext_lazy("status"), max_length=12, choices=Status, default=Status.STORING)
    # Of lines without a request of their own: what is sent is the system prompt and the line's prompt.
    system_prompt = models.TextField(gettext_lazy("system prompt"), blank=True)
    template = models.TextField(gettext_lazy("template"), blank=True)
    parameters = models.JSONField(gettext_lazy("parameters"), default=dict, blank=True)
    # The names of the columns that were uploaded.
    columns = models.JSONField(gettext_lazy("columns"), default=list, blank=True)
    total = models.PositiveIntegerField(gettext_lazy("rows"), default=0)
    completed = models.PositiveIntegerField(gettext_lazy("completed"), default=0)
    failed = models.PositiveIntegerField(gettext_lazy("failed"), default=0)
    # Estimated before it starts.
    prompt_tokens = models.PositiveBigIntegerField(gettext_lazy("estimated input tokens"), default=0)
    input_tokens = models.PositiveBigIntegerField(gettext_lazy("input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(gettext_lazy("output tokens"), default=0)
    cost_usd = models.DecimalField(
        gettext_lazy("cost (USD)"), max_digits=14, decimal_places=6, null=True, blank=True
    )
    error_message = models.TextField(gettext_lazy("error message"), blank=True)

    # Its only line is a question of a chat, which is answered later; see `batches.later`.
    is_question = models.BooleanField(default=False, db_default=False, editable=False)
    # Since when it is to be deleted as soon as it has ended: its user erased their data.
    erasing_since = models.DateTimeField(null=True, blank=True, editable=False)

    # How often failed lines were run again. A provider gets a batch of its own for each round.
    round = models.PositiveSmallIntegerField(default=0, editable=False)
    # The provider's ids and words; empty until it is known that it has them.
    provider_file = models.CharField(gettext_lazy("file at the provider"), max_length=200, blank=True)
    provider_batch = models.CharField(gettext_lazy("batch at the provider"), max_length=200, blank=True)
    provider_status = models.CharField(gettext_lazy("status at the provider"), max_length=40, blank=True)
    # What the provider says of its own progress: {"total", "completed", "failed"}.
    provider_counts = models.JSONField(default=dict, blank=True, editable=False)
    # Stored before the call that submits it. If we die, the next process first looks whether it arrived.
    submit_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The process that works on it at the provider; `epoch` counts them.
    owner = models.CharField(max_length=32, blank=True, editable=False)
    epoch = models.PositiveIntegerField(default=0, editable=False)
    # When it is looked at next; null: nothing is to be done.
    next_look_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Failures of calls in a row, for the time until the next one.
    failures = models.PositiveSmallIntegerField(default=0, editable=False)

    # Of the API: what a program sent, to be returned.
    input_file = models.CharField(max_length=64, blank=True, editable=False)
    url = models.CharField(max_length=40, blank=True, editable=False)
    metadata = models.JSONField(null=True, blank=True, editable=False)
    # Why the file of a program was refused: [[line, text], …].
    input_errors = models.JSONField(default=list, blank=True, editable=False)

    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)
    started_at = models.DateTimeField(gettext_lazy("started"), null=True, blank=True)
    finished_at = models.DateTimeField(gettext_lazy("finished"), null=True, blank=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = gettext_lazy("batch")
        verbose_name_plural = gettext_lazy("batches")
        indexes = [
            models.Index(fields=["user", "created_at"]),
            models.Index(
                fields=["next_look_at"], condition=Q(next_look_at__isnull=False), name="batches_due"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE

    @property
    def is_ended(self) -> bool:
        return self.status in self.ENDED

    @property
    def done(self) -> int:
        """How many lines have ended."""
        return self.completed + self.failed

    @property
    def wire_id(self) -> str:
        return f"{self.WIRE_PREFIX}{self.pk.hex}"

    @property
    def provider_key(self) -> str:
        """The id by which this round is found again at the provider."""
        return f"{self.pk.hex}.{self.round}"

    @classmethod
    def get_for(cls, user: AbstractUser, pk: uuid.UUID | str) -> Batch:
        """Return a batch of the user. Raises RequestRefused `not_found`, also for another user's."""
        try:
            found = cls.objects.of(user).select_related("model__endpoint").filter(pk=pk).first()
        except (ValidationError, ValueError) as exc:
            raise _not_found() from exc
        if found is None:
            raise _not_found()
        return found

    @classmethod
    def delete_some(cls, batches: models.QuerySet[Batch], limit: int) -> int:
        """Delete up to `limit` lines of these batches, or those without lines; return how many rows."""
        found = list(batches.values_list("pk", flat=True)[:limit])
        lines = list(BatchLine.objects.filter(batch__in=found).values_list("pk", flat=True)[:limit])
        if lines:
            return BatchLine.objects.filter(pk__in=lines).delete()[0]
        return cls.objects.filter(pk__in=found).delete()[0]

    @classmethod
    def delete_outdated(cls, limit: int) -> int:
        """Delete some rows of batches that are no longer kept; return `limit` if there may be more."""
        return limit if cls.delete_some(cls.objects.outdated(), limit) else 0

    def change_status(self, old: tuple[str, ...], new: str, **values: Any) -> bool:
        """Change the status if it is one of `old`, and have the batch looked at. Return whether it was."""
        values.setdefault("next_look_at", timezone.now())
        is_changed = Batch.objects.filter(pk=self.pk, status__in=old).update(status=new, **values)
        if is_changed:
            self.refresh_from_db()
        return bool(is_changed)

    def start(self) -> None:
        """Start a batch that is ready; a repeat changes nothing. Raises RequestRefused `wrong_status`."""
        now = timezone.now()
        if not self.change_status((self.Status.READY,), self.Status.RUNNING, started_at=now):
            self.refresh_from_db()
            if self.status in (self.Status.STORING, self.Status.READY):
                raise RequestRefused("wrong_status", _("The rows are still being stored."))

    def pause(self) -> None:
        """Start no further lines. Raises RequestRefused `wrong_status`."""
        is_local = self.runner == self.Runner.LOCAL
        if not is_local or not self.change_status((self.Status.RUNNING,), self.Status.PAUSED):
            raise RequestRefused("wrong_status", _("Only a batch that runs here can be paused."))

    def resume(self) -> None:
        """Raises RequestRefused `wrong_status`."""
        if not self.change_status((self.Status.PAUSED,), self.Status.RUNNING):
            raise RequestRefused("wrong_status", _("This batch is not paused."))

    def cancel(self) -> None:
        """Start no further lines and stop the running ones. Raises RequestRefused `wrong_status`."""
        old = (self.Status.RUNNING, self.Status.PAUSED, self.Status.READY)
        if self.status != self.Status.CANCELLING and not self.change_status(old, self.Status.CANCELLING):
            raise RequestRefused("wrong_status", _("This batch has ended already."))

    def retry(self) -> None:
        """Run the lines again that did not complete. In a transaction. Raises RequestRefused."""
        again = self.lines.filter(state__in=BatchLine.UNSUCCESSFUL)
        if self.model is None:
            raise RequestRefused("no_model", _("The model of this batch no longer exists."))
        if not self.is_ended or not again.exists():
            raise RequestRefused("wrong_status", _("There is nothing to run again."))
        values: dict[str, Any] = {
            "provider_file": "",
            "provider_batch": "",
            "provider_status": "",
            "provider_counts": {},
            "submit_began_at": None,
            "error_message": "",
            "finished_at": None,
            "failed": 0,
            "failures": 0,
            "round": F("round") + 1,
        }
        if self.change_status(self.ENDED, self.Status.RUNNING, **values):
            again.update(
                state=BatchLine.State.WAITING, tries=F("tries") + 1, error_code="", reason="", generation=None
            )

    def request_of(self, line: BatchLine) -> ApiRequest:
        """Return what is sent for a line. Of a question, the conversation is sent instead."""
        if line.request is not None:
            return msgspec.convert(line.request, ApiRequest)
        system = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        return ApiRequest([*system, {"role": "user", "content": line.prompt}], self.parameters)

    def record(self, ended: list[BatchLine]) -> None:
        """Count lines that have just ended. In the transaction that stores their states."""
        used = [line.generation for line in ended if line.generation is not None]
        costs = [row.cost_usd for row in used if row.cost_usd is not None]
        completed = sum(line.state == BatchLine.State.COMPLETED for line in ended)
        changes: dict[str, Any] = {
            "completed": F("completed") + completed,
            "failed": F("failed") + len(ended) - completed,
            "input_tokens": F("input_tokens") + sum(row.input_tokens or 0 for row in used),
            "output_tokens": F("output_tokens") + sum(row.output_tokens or 0 for row in used),
        }
        if costs:
            changes["cost_usd"] = models.functions.Coalesce(F("cost_usd"), 0, output_field=_COST) + sum(costs)
        Batch.objects.filter(pk=self.pk).update(**changes)

    def finish(self, status: str, error_message: str = "") -> bool:
        """End the batch. Return whether it had not ended."""
        return self.change_status(
            self.ACTIVE,
            status,
            finished_at=timezone.now(),
            error_message=error_message,
            next_look_at=None,
            owner="",
        )


_COST = models.DecimalField(max_digits=14, decimal_places=6)


def _not_found() -> RequestRefused:
    return RequestRefused("not_found", _("This batch does not exist."))
