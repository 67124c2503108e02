"""Generations: one run each that makes one assistant message; their attempts; their delta log's rows.

A generation belongs to the process in `owner` at `epoch`; every write of a run is guarded by both.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import connection, models
from django.db.models import F, Q, Window
from django.db.models.functions import Coalesce, RowNumber
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models.catalog import Model
from chat.models.large_request import LargeMessages
from chat.text import clean_json, last_user_text

MILLION = Decimal(1_000_000)


class ApiRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a program asked: sent to the model as it is, in place of a conversation's newest turns.

    `messages` and `parameters` are in the words of the OpenAI protocol; a limit of the answer's tokens
    is `max_tokens` here, and is sent under the name that the endpoint knows. `fallbacks`: ids of models
    that may answer instead, in order; None: those of the model's rows.
    """

    messages: list[dict[str, Any]]
    parameters: dict[str, Any] = {}
    fallbacks: list[int] | None = None
    # Large messages are stored in slices, and `messages` is empty.
    large: LargeMessages | None = None

    def cleaned(self) -> ApiRequest:
        """Return it with every text in it cleaned."""
        return ApiRequest(clean_json(self.messages), clean_json(self.parameters), self.fallbacks, self.large)

    @property
    def text(self) -> str:
        """The text of the last message that is a person's."""
        return last_user_text(self.messages)


@dataclass(frozen=True, slots=True)
class StartedGeneration:
    """What `ask`, `regenerate` and `resume` made, or had made when they saw the same client id before."""

    conversation_id: uuid.UUID
    generation_id: int
    message_id: int
    user_message_id: int
    is_repeat: bool = False
    # Whether it is among the conversations that its person's pages show.
    is_listed: bool = True


class GenerationQuerySet(models.QuerySet["Generation"]):
    def active(self) -> GenerationQuerySet:
        """Return those that are not final."""
        return self.filter(status__in=Generation.ACTIVE)

    def request_stop(self) -> int:
        """Ask for the end of those that are not final; return how many. Their processes see it at a tick."""
        asked = self.active().values("pk")
        return Generation.objects.filter(pk__in=asked).update(stop_requested_at=timezone.now())

    def made_by(self, user: AbstractUser, client_id: str) -> Generation | None:
        """Return what this person made with this client id before, if anything."""
        return self.select_related("message__parent").filter(user_id=user.pk, client_id=client_id).first()

    def of(self, user: AbstractUser) -> GenerationQuerySet:
        """Return those in conversations that `user` may see."""
        return self.filter(message__conversation__user_id=user.pk, message__conversation__deleted_at=None)

    def of_programs(self, user: AbstractUser) -> GenerationQuerySet:
        """Return those that this person's keys asked for, and not what they say in the chat."""
        return self.of(user).filter(source=Generation.Source.API)


class Generation(models.Model):
    class Status(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        COMPLETED = "completed", _("completed")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("failed")
        INTERRUPTED = "interrupted", _("interrupted")

    class Source(models.TextChoices):
        WEBSOCKET = "websocket", _("browser")
        FORM = "form", _("form")
        API = "api", _("API")
        COMMAND = "command", _("command")
        BATCH = "batch", _("batch")

    ACTIVE = (Status.QUEUED, Status.RUNNING)
    WIRE_PREFIX = "gen-"

    message = models.ForeignKey("chat.Message", models.CASCADE, related_name="generations")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="generations")
    # The key that a program asked with.
    api_key = models.ForeignKey(
        "chat.ApiKey", models.SET_NULL, null=True, blank=True, related_name="generations"
    )
    client_id = models.CharField(_("client id"), max_length=64)
    source = models.CharField(_("source"), max_length=10, choices=Source, default=Source.WEBSOCKET)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.QUEUED)
    model = models.ForeignKey(Model, models.SET_NULL, null=True, blank=True, related_name="+")
    model_name = models.CharField(_("model"), max_length=200, blank=True)

    owner = models.CharField(_("owner"), max_length=32, blank=True)
    epoch = models.PositiveIntegerField(_("epoch"), default=0)
    # Upstream calls made so far, over all epochs; counted before each call.
    calls = models.PositiveSmallIntegerField(_("calls"), default=0)
    # How often it was recovered after text had come, likewise.
    recoveries = models.PositiveSmallIntegerField(_("recoveries"), default=0, db_default=0)
    stop_requested_at = models.DateTimeField(null=True, blank=True)

    # A `ApiRequest`; null: the conversation is what is asked.
    request = models.JSONField(_("request"), null=True, blank=True, editable=False)
    # The message's text from before this generation, which it writes on to.
    prefix = models.TextField(blank=True)
    # Rows of its delta log may still be there.
    has_log = models.BooleanField(default=True, editable=False)
    # Earlier messages that did not fit the model's context.
    left_out = models.PositiveIntegerField(_("messages left out"), default=0)
    finish_reason = models.CharField(_("finish reason"), max_length=40, blank=True)
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    input_tokens = models.PositiveIntegerField(_("tokens in"), null=True, blank=True)
    output_tokens = models.PositiveIntegerField(_("tokens out"), null=True, blank=True)
    is_usage_estimated = models.BooleanField(default=False)
    cost_usd = models.DecimalField(_("cost, $"), max_digits=12, decimal_places=6, null=True, blank=True)

    created_at = models.DateTimeField(_("created"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    first_delta_at = models.DateTimeField(_("first delta"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["user", "client_id"], name="one_generation_per_client_id"),
            models.UniqueConstraint(
                fields=["message"],
                condition=Q(status__in=["queued", "running"]),
                name="one_active_generation_per_message",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "created_at"]),
            models.Index(
                fields=["owner"], condition=Q(status__in=["queued", "running"]), name="active_by_owner"
            ),
            models.Index(fields=["finished_at"], condition=Q(has_log=True), name="logs_to_prune"),
            models.Index(fields=["api_key", "created_at"]),
        ]

    def __str__(self) -> str:
        return f"generation {self.pk}"

    @property
    def wire_id(self) -> str:
        """What programs know it by."""
        return f"{self.WIRE_PREFIX}{self.pk}"

    @classmethod
    def id_from(cls, wire_id: str) -> int | None:
        """Return the id in `wire_id`; None if there is none that a row could have."""
        digits = wire_id.removeprefix(cls.WIRE_PREFIX)
        is_id = digits != wire_id and digits.isascii() and digits.isdigit() and len(digits) <= 18
        return int(digits) if is_id else None

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE

    @property
    def can_resume(self) -> bool:
        """Whether it ended before its answer did, with some text to go on from."""
        ended_early = self.status in {self.Status.STOPPED, self.Status.INTERRUPTED} or (
            self.status == self.Status.COMPLETED and self.finish_reason == "length"
        )
        return ended_early and bool(self.message.text)

    @property
    def duration_s(self) -> float | None:
        """Seconds from the question to the last word."""
        return (self.finished_at - self.created_at).total_seconds() if self.finished_at else None

    @property
    def queued_s(self) -> float | None:
        """Seconds from the question to the moment a process took it."""
        return (self.started_at - self.created_at).total_seconds() if self.started_at else None

    @property
    def tokens_per_s(self) -> float | None:
        """How fast it was written, once it had begun."""
        if not (self.first_delta_at and self.finished_at and self.output_tokens):
            return None
        written_s = (self.finished_at - self.first_delta_at).total_seconds()
        return self.output_tokens / written_s if written_s > 0 else None

    @property
    def first_delta_s(self) -> float | None:
        """Seconds from the question to the first word."""
        return (self.first_delta_at - self.created_at).total_seconds() if self.first_delta_at else None

    def as_started(self, *, is_repeat: bool = False) -> StartedGeneration:
        message = self.message
        return StartedGeneration(
            conversation_id=message.conversation_id,
            generation_id=self.pk,
            message_id=message.pk,
            user_message_id=message.parent_id or 0,
            is_repeat=is_repeat,
            is_listed=message.conversation.is_listed,
        )

    @property
    def asked(self) -> ApiRequest | None:
        """What a program asked, if it was one."""
        return None if self.request is None else msgspec.convert(self.request, ApiRequest)

    def route(self) -> list[Model]:
        """Return the models that may answer, in order; none if its model is gone. One query."""
        if self.model is None:
            return []
        fallbacks = self.asked.fallbacks if self.asked is not None else None
        return self.model.route() if fallbacks is None else self.model.route_over(fallbacks)

    @classmethod
    def claim(cls, pk: int, *, owner: str, from_owner: str = "") -> Generation | None:
        """Make `owner` the owner of an active generation that `from_owner` has (empty: nobody).

        None if it is final, gone, or somebody else's by now. Raises nothing. In a transaction.
        """
        free = cls.objects.active().filter(pk=pk, owner=from_owner)
        if connection.features.has_select_for_update_skip_locked:
            # Who waited for another claimer, with other rows claimed, could be waited for by it in turn.
            free = cls.objects.filter(
                pk__in=list(free.select_for_update(skip_locked=True).values_list("pk", flat=True))
            )
        won = free.update(
            owner=owner,
            epoch=F("epoch") + 1,
            status=cls.Status.RUNNING,
            started_at=Coalesce("started_at", timezone.now()),
        )
        if not won:
            return None
        return cls.objects.select_related("model__endpoint", "message__conversation__model", "user").get(
            pk=pk
        )

    @classmethod
    def waiting_bulk(cls, most: int) -> list[int]:
        """Return the ids of bulk that nobody runs: one of each user's in turn, the oldest first."""
        waiting = cls.objects.active().filter(owner="", source=cls.Source.BATCH)
        turn = Window(RowNumber(), partition_by="user", order_by="pk")
        return list(waiting.annotate(turn=turn).order_by("turn", "pk").values_list("pk", flat=True)[:most])

    @classmethod
    def request_stop(cls, user: AbstractUser, pk: int) -> bool:
        """Ask for the end of a person's own generation; False if it is final already or not theirs."""
        return cls.objects.of(user).filter(pk=pk).request_stop() > 0

    def set_usage(
        self, input_tokens: int, output_tokens: int, *, is_estimated: bool, model: Model | None
    ) -> None:
        """Set tokens and, where the prices of the model that answered are known, the cost. Does not save."""
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.is_usage_estimated = is_estimated
        if model and model.input_usd_per_million is not None and model.output_usd_per_million is not None:
            self.cost_usd = (
                model.input_usd_per_million * input_tokens + model.output_usd_per_million * output_tokens
            ) / MILLION


class Attempt(models.Model):
    """One upstream call of a generation."""

    class Outcome(models.TextChoices):
        RUNNING = "running", _("running")
        COMPLETED = "completed", _("completed")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("failed")
        LOST = "lost", _("lost with its process")

    class Recovery(models.TextChoices):
        CONTINUE = "continue", _("continues the text")
        RESTART = "restart", _("begins anew")

    generation = models.ForeignKey(Generation, models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField(_("number"))
    epoch = models.PositiveIntegerField(_("epoch"), default=0)
    model_name = models.CharField(_("model"), max_length=200)
    endpoint_name = models.CharField(_("endpoint"), max_length=80, blank=True)
    # How it goes on after the text of those before it; empty: there was none.
    recovery = models.CharField(_("recovery"), max_length=10, choices=Recovery, blank=True, db_default="")
    # Characters of the answer that stood before it.
    before_chars = models.PositiveIntegerField(_("characters before"), default=0, db_default=0)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome, default=Outcome.RUNNING)
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    # What the endpoint said, redacted: for staff, never for the person who asked.
    error_detail = models.TextField(_("detail"), blank=True)
    wait_s = models.FloatField(_("waited before, s"), default=0)
    # In line for a slot, just before this call.
    queued_s = models.FloatField(_("queued, s"), default=0, db_default=0)
    # Text that ended with this attempt, and that a restart took off the screens.
    abandoned_text = models.TextField(_("abandoned text"), blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    first_delta_at = models.DateTimeField(_("first delta"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        ordering = ["generation", "number"]
        constraints = [
            models.UniqueConstraint(fields=["generation", "number"], name="one_attempt_per_number")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of generation {self.generation_id}"


class LoggedEvent(models.Model):
    """One row of a delta log. Written and read by `chat.event_log.log` alone."""

    pk = models.CompositePrimaryKey("generation_id", "seq")
    # No foreign key: one deleted generation must not fail the commit of fifty others.
    generation_id = models.BigIntegerField()
    seq = models.PositiveIntegerField()
    # JSON of one `chat.events.Event`.
    payload = models.TextField()

    class Meta:
        db_table = "chat_delta_log"
