"""Programs: their keys, and who is told when what they asked for is answered."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import NOTHING, LogAdmin, Styled, ago, number
from chat.models import ApiKey, Callback, Generation, Receiver


@admin.register(ApiKey)
class ApiKeyAdmin(Styled, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "user", "prefix", "running", "used", "expires_at", "revoked"]
    list_filter = ["revoked_at", "last_used_at"]
    list_select_related = ["user"]
    search_fields = ["name", "prefix", "user__username"]
    fields = ["name", "user", "prefix", "scopes", "running_max", "running", "expires_at", "used", "revoked"]
    readonly_fields = ["user", "prefix", "running", "used", "revoked"]
    actions = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        found: QuerySet[ApiKey] = super().get_queryset(request)
        active = Q(generations__status__in=Generation.ACTIVE)
        return found.annotate(running_count=Count("generations", filter=active))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Keys are made by their people, or by `manage.py api_key`: who makes one sees it."""
        return False

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            key.revoke()

    @admin.display(description=_("answers at once, limit"))
    def running(self, key: ApiKey) -> str:
        limit = key.running_max or f"{settings.RUNNING_PER_KEY} *"
        return number(f"{getattr(key, 'running_count', 0)} / {limit}")

    @admin.display(description=_("last used"), ordering="last_used_at")
    def used(self, key: ApiKey) -> str:
        return ago(key.last_used_at)

    @admin.display(description=_("revoked"), ordering="revoked_at")
    def revoked(self, key: ApiKey) -> str:
        return ago(key.revoked_at)


@admin.register(Receiver)
class ReceiverAdmin(Styled, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["url", "is_enabled", "created_at"]
    fields = ["url", "is_enabled", "signing_secret"]
    readonly_fields = ["signing_secret"]
    actions = ["renew"]

    @admin.display(description=_("signing secret"))
    def signing_secret(self, receiver: Receiver) -> str:
        return receiver.secret if receiver.pk else NOTHING

    @admin.action(description=_("Give them a new signing secret"), permissions=["change"])
    def renew(self, request: HttpRequest, queryset: QuerySet[Receiver]) -> None:
        for receiver in queryset:
            receiver.renew_secret()


@admin.register(Callback)
class CallbackAdmin(LogAdmin):
    list_display = ["id", "generation", "receiver", "attempts", "delivered", "next_try", "last_error"]
    list_filter = ["delivered_at", "given_up_at", "receiver"]
    list_select_related = ["generation", "receiver"]
    fields = [
        *("generation", "receiver", "attempts", "next_try_at", "delivered_at", "given_up_at", "last_error"),
        "created_at",
    ]

    @admin.display(description=_("delivered"), ordering="delivered_at")
    def delivered(self, callback: Callback) -> str:
        return ago(callback.delivered_at)

    @admin.display(description=_("next try"), ordering="next_try_at")
    def next_try(self, callback: Callback) -> str:
        is_over = callback.delivered_at or callback.given_up_at
        return NOTHING if is_over else callback.next_try_at.isoformat(" ", "seconds")
