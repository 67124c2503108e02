"""Admin pages for programs: API keys, webhook endpoints and webhooks."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import EMPTY_VALUE, LogAdmin, StyledAdmin, ago, number, state
from chat.models import ApiKey, EmbeddingCall, Webhook, WebhookEndpoint


@admin.register(ApiKey)
class ApiKeyAdmin(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "status", "user", "prefix", "running", "used", "expires_at"]
    list_filter = ["revoked_at", "last_used_at"]
    list_select_related = ["user"]
    search_fields = ["name", "prefix", "user__username"]
    fields = ["name", "user", "prefix", "scopes", "running_max", "running", "expires_at", "used", "revoked"]
    readonly_fields = ["user", "prefix", "running", "used", "revoked"]
    actions = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        found: QuerySet[ApiKey] = super().get_queryset(request)
        active = Q(generations__finished_at=None)
        return found.annotate(running_count=Count("generations", filter=active))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Deny it: a new key is shown only to the user, or by `manage.py api_key`."""
        return False

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            key.revoke()

    @admin.display(description=_("concurrent requests, limit"))
    def running(self, key: ApiKey) -> str:
        limit = key.running_max or f"{settings.RUNNING_PER_KEY} *"
        return number(f"{getattr(key, 'running_count', 0)} / {limit}")

    @admin.display(description=_("last used"), ordering="last_used_at")
    def used(self, key: ApiKey) -> str:
        return ago(key.last_used_at)

    @admin.display(description=_("status"), ordering="revoked_at")
    def status(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return state("stopped", gettext("revoked"))
        if key.expires_at is not None and key.expires_at <= timezone.now():
            return state("stopped", gettext("expired"))
        return state("completed", gettext("active"))

    @admin.display(description=_("revoked"), ordering="revoked_at")
    def revoked(self, key: ApiKey) -> str:
        return ago(key.revoked_at)


@admin.register(EmbeddingCall)
class EmbeddingCallAdmin(LogAdmin):
    list_display = ["created_at", "user", "api_key", "model_name", "inputs", "input_tokens", "error_code"]
    list_filter = ["created_at", "model_name", "error_code"]
    list_select_related = ["user", "api_key"]
    fields = [
        *("user", "api_key", "model_name", "endpoint_name", "inputs", "calls", "input_tokens", "cost_usd"),
        *("error_code", "duration_s", "created_at"),
    ]


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["url", "is_enabled", "created_at"]
    fields = ["url", "is_enabled", "signing_secret"]
    readonly_fields = ["signing_secret"]
    actions = ["renew"]

    @admin.display(description=_("signing secret"))
    def signing_secret(self, endpoint: WebhookEndpoint) -> str:
        return endpoint.secret if endpoint.pk else EMPTY_VALUE

    @admin.action(description=_("Replace the signing secret"), permissions=["change"])
    def renew(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            endpoint.renew_secret()


@admin.register(Webhook)
class WebhookAdmin(LogAdmin):
    list_display = ["id", "generation", "endpoint", "attempts", "delivered", "next_try", "last_error"]
    list_filter = ["delivered_at", "given_up_at", "endpoint"]
    list_select_related = ["generation", "endpoint"]
    fields = [
        *("generation", "endpoint", "attempts", "next_try_at", "delivered_at", "given_up_at", "last_error"),
        "created_at",
    ]

    @admin.display(description=_("delivered"), ordering="delivered_at")
    def delivered(self, webhook: Webhook) -> str:
        return ago(webhook.delivered_at)

    @admin.display(description=_("next attempt"), ordering="next_try_at")
    def next_try(self, webhook: Webhook) -> str:
        is_over = webhook.delivered_at or webhook.given_up_at
        return EMPTY_VALUE if is_over else webhook.next_try_at.isoformat(" ", "seconds")
