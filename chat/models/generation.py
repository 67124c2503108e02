"""Generations. Each is one run that produces the text of one assistant message.

`owner` is the process that runs a generation, `epoch` counts its owners. Both guard every write of a run.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import connection, models
from django.db.models import F, Q, Window
from django.db.models.functions import Coalesce, RowNumber
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models import rows
from chat.models.api_request import ApiRequest
from chat.models.catalog import Model


@dataclass(frozen=True, slots=True)
class StartedGeneration:
    """The rows that `ask`, `regenerate`, `resume` or `ask_once` stored.

    `is_repeat`: an earlier call with the same client id stored them. `is_hidden`: the conversation belongs to
    a program and no page shows it. `is_new_conversation`: this call created the conversation.
    `parent_id`: the answer that a new message of the chat follows; None if it is the first, and for a repeat
    or another answer. `generation`: the row as it was stored; None if it is a repeat.
    `warning`: what the user should be told about a budget. `others`: the further answers of a comparison.
    """

    conversation_id: uuid.UUID
    generation_id: int
    message_id: int
    user_message_id: int
    parent_id: int | None = None
    is_repeat: bool = False
    is_hidden: bool = False
    is_new_conversation: bool = False
    warning: str = ""
    others: tuple[StartedGeneration, ...] = ()
    generation: Generation | None = field(default=None, compare=False, repr=False)


class GenerationQuerySet(models.QuerySet["Generation"]):
    def active(self) -> GenerationQuerySet:
        """Return those that are not final.

        By `finished_at`, which is set together with a final status: unlike a list of statuses, which is a
        parameter of the query, it lets SQLite use the partial indexes below.
        """
        return self.filter(finished_at=None)

    def unless_waiting_bulk(self) -> GenerationQuerySet:
        """Return all but bulk without an owner, of which there may be very much, and what a provider runs."""
        not_bulk = [source for source in Generation.Source if source != Generation.Source.BATCH]
        # Two ranges of `active_by_owner`.
        return self.at_provider(False).filter(Q(owner__gt="") | Q(owner="", source__in=not_bulk))

    def at_provider(self, is_there: bool = True) -> GenerationQuerySet:
        """Return those that wait in a batch of their provider, or all others."""
        own = Q(owner=Generation.AT_PROVIDER)
        return self.filter(own if is_there else ~own)

    def request_stop(self) -> int:
        """Request a stop of those that are not final; return how many. Their processes read it at a tick."""
        active = self.active().values("pk")
        return Generation.objects.filter(pk__in=active).update(stop_requested_at=timezone.now())

    def of(self, user: AbstractUser) -> GenerationQuerySet:
        """Return those in conversations that `user` may see."""
        return self.filter(message__conversation__user_id=user.pk, message__conversation__deleted_at=None)

    def of_programs(self, user: AbstractUser) -> GenerationQuerySet:
        """Return those that this user's API keys started."""
        return self.of(user).filter(source=Generation.Source.API)


class Generation(models.Model):
    """A run that generates an answer. A message has another one for each time it is continued."""

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
        TITLE = "title", _("title of a conversation")

    ACTIVE = (Status.QUEUED, Status.RUNNING)
    # The owner of an answer that the provider gives later, in a batch. No process claims it.
    AT_PROVIDER = "provider"
    WIRE_PREFIX = "gen-"
    # Of completions in OpenAI's format.
    COMPLETION_PREFIX = "chatcmpl-"

    message = models.ForeignKey("chat.Message", models.CASCADE, related_name="generations")
    # Its index, and that of `api_key`, begin those of Meta: one of its own would only cost time.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="generations", db_index=False
    )
    # The key that the program authenticated with.
    api_key = models.ForeignKey(
        "chat.ApiKey",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="generations",
        verbose_name=_("API key"),
        db_index=False,
    )
    client_id = models.CharField(_("client ID"), max_length=64)
    source = models.CharField(_("source"), max_length=10, choices=Source, default=Source.WEBSOCKET)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.QUEUED)
    model = models.ForeignKey(Model, models.SET_NULL, null=True, blank=True, related_name="+")
    model_name = models.CharField(_("model"), max_length=200, blank=True)

    owner = models.CharField(_("owner"), max_length=32, blank=True)
    epoch = models.PositiveIntegerField(_("epoch"), default=0)
    # Upstream calls so far, over all epochs. Counted before each call.
    calls = models.PositiveSmallIntegerField(_("calls"), default=0)
    # Recoveries so far, counted in the same way.
    recoveries = models.PositiveSmallIntegerField(_("recoveries"), default=0, db_default=0)
    stop_requested_at = models.DateTimeField(_("stop requested"), null=True, blank=True)

    # An `ApiRequest`. Null: the messages of the conversation are sent.
    request = models.JSONField(_("request"), null=True, blank=True, editable=False)
    # Text of the message before this generation, which continues it.
    prefix = models.TextField(_("previous text"), blank=True)
    # Whether rows of its event log may still exist.
    has_log = models.BooleanField(default=True, editable=False)
    # Earlier messages that did not fit into the model's context.
    left_out = models.PositiveIntegerField(_("messages left out"), default=0)
    # Sentences for people: what of their files did not fit, or could not be seen. Null: nothing.
    file_notes = models.JSONField(_("files"), null=True, blank=True)
    finish_reason = models.CharField(_("finish reason"), max_length=40, blank=True)
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    input_tokens = models.PositiveIntegerField(_("input tokens"), null=True, blank=True)
    output_tokens = models.PositiveIntegerField(_("output tokens"), null=True, blank=True)
    # Parts of these, where the endpoint tells them.
    cached_tokens = models.PositiveIntegerField(_("cached input tokens"), null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(_("reasoning tokens"), null=True, blank=True)
    is_usage_estimated = models.BooleanField(default=False)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=12, decimal_places=6, null=True, blank=True)

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
                condition=Q(finished_at=None),
                name="one_active_generation_per_message",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "created_at"]),
            models.Index(fields=["owner", "source"], condition=Q(finished_at=None), name="active_by_owner"),
            models.Index(fields=["user"], condition=Q(finished_at=None), name="active_by_user"),
            models.Index(fields=["finished_at"], condition=Q(has_log=True), name="logs_to_prune"),
            models.Index(fields=["api_key", "created_at"]),
            models.Index(
                fields=["finished_at"], condition=Q(finished_at__isnull=False), name="generations_by_end"
            ),
        ]

    def __str__(self) -> str:
        return f"generation {self.pk}"

    @property
    def wire_id(self) -> str:
        """The id of this generation in the API."""
        return f"{self.WIRE_PREFIX}{self.pk}"

    @classmethod
    def id_from(cls, wire_id: str) -> int | None:
        """Return the primary key in the id of a generation or its completion, or None if it is not valid."""
        is_completion = wire_id.startswith(cls.COMPLETION_PREFIX)
        digits = wire_id.removeprefix(cls.COMPLETION_PREFIX if is_completion else cls.WIRE_PREFIX)
        is_id = digits != wire_id and digits.isascii() and digits.isdigit() and len(digits) <= 18
        return int(digits) if is_id else None

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE

    @property
    def is_at_provider(self) -> bool:
        """Whether it waits in a batch of its provider."""
        return self.is_active and self.owner == self.AT_PROVIDER

    @property
    def can_resume(self) -> bool:
        """Whether the answer ended early and has some text to continue."""
        ended_early = self.status in {self.Status.STOPPED, self.Status.INTERRUPTED} or (
            self.status == self.Status.COMPLETED and self.finish_reason == "length"
        )
        return ended_early and bool(self.message.text.strip())

    @property
    def duration_s(self) -> float | None:
        """Seconds from the request to the end of the answer."""
        return (self.finished_at - self.created_at).total_seconds() if self.finished_at else None

    @property
    def queued_s(self) -> float | None:
        """Seconds from the request to the claim by a process."""
        return (self.started_at - self.created_at).total_seconds() if self.started_at else None

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second between the first delta and the end; None if it was interrupted."""
        if not (self.first_delta_at and self.finished_at and self.output_tokens) or self.recoveries:
            return None
        generating_s = (self.finished_at - self.first_delta_at).total_seconds()
        return self.output_tokens / generating_s if generating_s > 0 else None

    @property
    def first_delta_s(self) -> float | None:
        """Seconds from the request to the first delta."""
        return (self.first_delta_at - self.created_at).total_seconds() if self.first_delta_at else None

    def as_started(
        self, *, parent_id: int | None = None, is_repeat: bool = False, is_new_conversation: bool = False
    ) -> StartedGeneration:
        """Return what the verb that stored this generation returns."""
        message = self.message
        return StartedGeneration(
            conversation_id=message.conversation_id,
            generation_id=self.pk,
            message_id=message.pk,
            user_message_id=message.parent_id or 0,
            parent_id=parent_id,
            is_repeat=is_repeat,
            is_hidden=message.conversation.is_hidden,
            is_new_conversation=is_new_conversation,
            generation=None if is_repeat else self,
        )

    @property
    def api_request(self) -> ApiRequest | None:
        """The request of a program; None for messages of the chat."""
        return None if self.request is None else msgspec.convert(self.request, ApiRequest)

    def route(self) -> list[Model]:
        """Return the models that may answer, in order. Empty if its model was deleted. One query.

        A request with tools falls back only to models that take tools.
        """
        if self.model is None:
            return []
        request = self.api_request
        fallbacks = request.fallbacks if request is not None else None
        first, *others = self.model.route() if fallbacks is None else self.model.route_over(fallbacks)
        has_tools = request is not None and request.has_tools
        return [first, *(model for model in others if model.takes_tools or not has_tools)]

    @classmethod
    def started_by(cls, user: AbstractUser, client_id: str) -> Generation | None:
        """Return the generation that this user started with this client id, or None."""
        # Nearly always there is none, and the query for all of it takes longer to write than to answer.
        found = rows.find(cls, user_id=user.pk, client_id=client_id)
        return (
            None if found is None else cls.objects.select_related("message__parent").filter(pk=found).first()
        )

    @classmethod
    def claim(cls, pk: int, *, owner: str, from_owner: str = "") -> Generation | None:
        """Make `owner` the owner of an active generation of `from_owner` (empty: it has no owner).

        Return None if it is final, deleted or owned by a different process now. Call in a transaction.
        """
        claimable = cls.objects.active().filter(pk=pk, owner=from_owner)
        if connection.features.has_select_for_update_skip_locked:
            # Skip a locked row: waiting for it while holding locks on other claimed rows could deadlock.
            unlocked = claimable.select_for_update(skip_locked=True)
            claimable = cls.objects.filter(pk__in=list(unlocked.values_list("pk", flat=True)))
        is_claimed = claimable.update(
            owner=owner,
            epoch=F("epoch") + 1,
            status=cls.Status.RUNNING,
            started_at=Coalesce("started_at", timezone.now()),
        )
        if not is_claimed:
            return None
        return cls.objects.select_related(
            "model__endpoint", "message__conversation__model", "user", "api_key"
        ).get(pk=pk)

    def claim_as_stored(self, owner: str) -> None:
        """Make `owner` the owner of this generation, which the same transaction has stored."""
        self.owner, self.epoch, self.status = owner, 1, self.Status.RUNNING
        self.started_at = timezone.now()
        names = ("owner", "epoch", "status", "started_at", "calls")
        rows.update(Generation, self.pk, {name: getattr(self, name) for name in names})

    @classmethod
    def waiting_bulk(cls, limit: int, except_users: Collection[int] = ()) -> list[int]:
        """Return ids of bulk generations without an owner: round robin by user, oldest first."""
        waiting = cls.objects.active().filter(owner="", source=cls.Source.BATCH)
        if except_users:
            waiting = waiting.exclude(user_id__in=except_users)
        round_ = Window(RowNumber(), partition_by="user", order_by="pk")
        return list(
            waiting.annotate(round=round_).order_by("round", "pk").values_list("pk", flat=True)[:limit]
        )

    @classmethod
    def request_stop(cls, user: AbstractUser, pk: int) -> bool:
        """Request a stop of the user's generation. Return False if it is final or not theirs."""
        return cls.objects.of(user).filter(pk=pk).request_stop() > 0
