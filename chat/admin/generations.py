"""Generations and their attempts: the request, the model, the outcome."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from chat.admin.access import RecordedAdmin
from chat.admin.answer_filters import PERIOD_OF_ANSWERS
from chat.admin.logs import EMPTY_VALUE, ReadOnlyAdmin, ago, number, pretty, seconds, state
from chat.admin.masked import shown_json, shown_text, with_masking
from chat.admin.operator_actions import may_operate, stop_generations
from chat.models import Attempt, Generation, LargeRequest

# Characters of a large request that are shown.
LARGE_SHOWN_CHARS = 2_000


class AttemptInline(ReadOnlyAdmin, admin.TabularInline):  # type: ignore[type-arg]
    model = Attempt
    extra = 0
    show_change_link = True
    fields = [
        *("number", "model_name", "endpoint_name", "recovery", "before_chars", "badge", "error_code"),
        *("error_words", "backoff", "queued", "first_delta", "duration", "tokens", "cost"),
    ]
    readonly_fields = [
        *("badge", "error_words", "backoff", "queued", "first_delta", "duration", "tokens", "cost")
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        found: QuerySet[Attempt] = with_masking(super().get_queryset(request), request)
        return found

    @admin.display(description=_("error detail"))
    def error_words(self, attempt: Attempt) -> str:
        return shown_text(attempt, attempt.error_detail) or EMPTY_VALUE

    @admin.display(description=_("outcome"))
    def badge(self, attempt: Attempt) -> str:
        return state(attempt.outcome, attempt.get_outcome_display())

    @admin.display(description=_("backoff"))
    def backoff(self, attempt: Attempt) -> str:
        return seconds(attempt.wait_s)

    @admin.display(description=_("time in queue"))
    def queued(self, attempt: Attempt) -> str:
        return seconds(attempt.queued_s)

    @admin.display(description=_("first text"))
    def first_delta(self, attempt: Attempt) -> str:
        return seconds(_seconds(attempt, "first_delta_at"))

    @admin.display(description=_("duration"))
    def duration(self, attempt: Attempt) -> str:
        return seconds(_seconds(attempt, "finished_at"))

    @admin.display(description=_("tokens in and out"))
    def tokens(self, attempt: Attempt) -> str:
        if attempt.input_tokens is None:
            return EMPTY_VALUE
        about = "≈ " if attempt.is_usage_estimated else ""
        return number(f"{about}{attempt.input_tokens} + {attempt.output_tokens}")

    @admin.display(description=_("cost (USD)"))
    def cost(self, attempt: Attempt) -> str:
        return number(attempt.cost_usd)


def _seconds(attempt: Attempt, until: str) -> float | None:
    """Return the seconds from the start of an attempt to the time in the field `until`."""
    moment = getattr(attempt, until)
    return (moment - attempt.started_at).total_seconds() if moment else None


@admin.register(Generation)
class GenerationAdmin(RecordedAdmin):
    list_display = [
        *("id", "created", "user", "model_name", "outcome", "conversation"),
        *("first_delta", "duration", "tokens", "cost"),
    ]
    list_filter = ["status", "source", "model", *PERIOD_OF_ANSWERS]
    list_select_related = ["user"]
    search_fields = ["=id", "user__username", "model_name", "error_code"]
    search_help_text = _("ID, username, model or error code")
    inlines = [AttemptInline]
    actions = ["stop"]
    fieldsets = [
        (None, {"fields": [("badge", "model_name", "source"), ("user", "conversation")]}),
        (_("Result"), {"fields": [("finish_reason", "error_code", "error_words")]}),
        (
            _("Measurements"),
            {"fields": [("first_delta", "duration", "tokens"), ("cost", "left_out", "calls")]},
        ),
        (_("Times"), {"fields": [("created_at", "started_at"), ("first_delta_at", "finished_at")]}),
        (_("Run"), {"fields": [("owner", "epoch"), ("stop_requested_at", "client_id")]}),
        (_("API request"), {"fields": ["api_request_json"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        found: QuerySet[Generation] = super().get_queryset(request)
        # Only the id of the conversation: the message may be a megabyte.
        found = with_masking(found, request)
        return found.annotate(conversation_pk=F("message__conversation_id")).defer("prefix", "request")

    def conversation_of(self, generation: Generation) -> tuple[UUID, int]:
        return getattr(generation, "conversation_pk"), generation.user_id  # noqa: B009 - an annotation

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may_operate(request.user)

    @admin.action(description=_("Stop running generations"), permissions=["operate"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Generation]) -> None:
        self.message_user(request, stop_generations(*queryset.values_list("pk", flat=True)))

    @admin.display(description=_("status"), ordering="status")
    def badge(self, generation: Generation) -> str:
        return state(generation.status, generation.get_status_display())

    @admin.display(description=_("status"), ordering="status")
    def outcome(self, generation: Generation) -> str:
        """Return the status with what the list has no further room for: the error, and where it was asked."""
        notes = [generation.error_code, generation.get_source_display()]
        words = " · ".join(filter(None, notes))
        return format_html('{}<br><small class="quiet">{}</small>', self.badge(generation), words)

    @admin.display(description=_("error message"))
    def error_words(self, generation: Generation) -> str:
        return shown_text(generation, generation.error_message) or EMPTY_VALUE

    @admin.display(description=_("first text"))
    def first_delta(self, generation: Generation) -> str:
        return seconds(generation.first_delta_s)

    @admin.display(description=_("duration"))
    def duration(self, generation: Generation) -> str:
        return seconds(generation.duration_s)

    @admin.display(description=_("tokens in, out"))
    def tokens(self, generation: Generation) -> str:
        if generation.input_tokens is None and generation.output_tokens is None:
            return number(None)
        prefix = "≈ " if generation.is_usage_estimated else ""
        return number(f"{prefix}{generation.input_tokens or 0}, {generation.output_tokens or 0}")

    @admin.display(description=_("cost (USD)"), ordering="cost_usd")
    def cost(self, generation: Generation) -> str:
        return number(generation.cost_usd)

    @admin.display(description=_("messages and parameters"))
    def api_request_json(self, generation: Generation) -> str:
        if generation.request is None:
            return EMPTY_VALUE
        request = pretty(shown_json(generation, _shortened(generation.request)))
        if not generation.request.get("large"):
            return request
        beginning = shown_text(generation, LargeRequest.beginning_of(generation.pk, LARGE_SHOWN_CHARS))
        return format_html('{}<pre class="json">{}…</pre>', request, beginning)

    @admin.display(description=_("created"), ordering="id")
    def created(self, generation: Generation) -> str:
        return ago(generation.created_at)

    @admin.display(description=_("conversation"))
    def conversation(self, generation: Generation) -> str:
        pk = getattr(generation, "conversation_pk", None)
        if pk is None:
            return EMPTY_VALUE
        url = reverse("admin:chat_conversation_change", args=[pk])
        return format_html('<a href="{}?message={}#m{}">{}</a>', url, *[generation.message_id] * 2, _("show"))


def _shortened(value: Any) -> Any:
    """Return a JSON value in which data URLs, such as images, are cut to their beginning."""
    match value:
        case str() if value.startswith("data:"):
            return f"{value[:40]}… ({len(value)} characters)"
        case list():
            return [_shortened(item) for item in value]
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
    return value


@admin.register(Attempt)
class AttemptAdmin(RecordedAdmin):
    list_display = [
        *("id", "generation_link", "number", "model_name", "endpoint_name", "badge", "error_code"),
        *("backoff", "queued", "started"),
    ]
    list_filter = ["outcome", "started_at"]
    ordering = ["-id"]
    search_fields = ["=generation__id", "model_name", "endpoint_name", "error_code"]
    search_help_text = _("Generation ID, model, endpoint or error code")
    fields = [
        *("generation_link", "number", "epoch", "model_name", "endpoint_name", "badge", "error_code"),
        *(
            "error_words",
            "recovery",
            "before_chars",
            "backoff",
            "queued",
            "discarded",
            "discarded_calls",
            *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
            *("is_usage_estimated", "cost_usd", "request_id"),
            "started_at",
            "first_delta_at",
            "finished_at",
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        found: QuerySet[Attempt] = super().get_queryset(request)
        found = with_masking(found, request)
        return found.defer("abandoned_text", "abandoned_calls", "error_detail")

    def conversation_of(self, attempt: Attempt) -> tuple[UUID, int]:
        row = Generation.objects.filter(pk=attempt.generation_id)
        return row.values_list("message__conversation_id", "user_id").get()

    @admin.display(description=_("error detail"))
    def error_words(self, attempt: Attempt) -> str:
        return shown_text(attempt, attempt.error_detail) or EMPTY_VALUE

    @admin.display(description=_("discarded text"))
    def discarded(self, attempt: Attempt) -> str:
        return shown_text(attempt, attempt.abandoned_text) or EMPTY_VALUE

    @admin.display(description=_("discarded tool calls"))
    def discarded_calls(self, attempt: Attempt) -> str:
        calls = [f"{call['name']} {call['arguments']}" for call in attempt.abandoned_calls or ()]
        return shown_text(attempt, "\n".join(calls)) or EMPTY_VALUE

    @admin.display(description=_("generation"), ordering="generation")
    def generation_link(self, attempt: Attempt) -> str:
        url = reverse("admin:chat_generation_change", args=[attempt.generation_id])
        return format_html('<a href="{}">{}</a>', url, attempt.generation_id)

    @admin.display(description=_("outcome"), ordering="outcome")
    def badge(self, attempt: Attempt) -> str:
        return state(attempt.outcome, attempt.get_outcome_display())

    @admin.display(description=_("backoff"))
    def backoff(self, attempt: Attempt) -> str:
        return seconds(attempt.wait_s)

    @admin.display(description=_("time in queue"))
    def queued(self, attempt: Attempt) -> str:
        return seconds(attempt.queued_s)

    @admin.display(description=_("started"))
    def started(self, attempt: Attempt) -> str:
        return ago(attempt.started_at)
