"""Users: Django's own pages, with a link to the user's conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.admin.answer_filters import ActiveSinceFilter, ActiveUntilFilter
from chat.admin.deletion import begin_erasure
from chat.admin.logs import EMPTY_VALUE, StyledAdmin, state
from chat.models import ApiKey, Conversation, Erasure, Generation, Message

admin.site.unregister(User)


@admin.register(User)
class UserAdmin(StyledAdmin, auth_admin.UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    list_display = ["username", "status", "email", "first_name", "last_name", "conversations"]
    list_filter = [*auth_admin.UserAdmin.list_filter, ActiveSinceFilter, ActiveUntilFilter]
    readonly_fields = ["conversations"]
    fieldsets = (
        *(auth_admin.UserAdmin.fieldsets or ()),
        (_("Conversations"), {"fields": ["conversations"]}),
    )

    @admin.display(description=_("status"), ordering="is_active")
    def status(self, user: User) -> str:
        roles = [
            (user.is_superuser, gettext("owner")),
            (user.is_staff and not user.is_superuser, gettext("staff")),
        ]
        chips = format_html_join(
            " ", '<span class="chip">{}</span>', [[role] for has_it, role in roles if has_it]
        )
        shown = (
            state("completed", gettext("active"))
            if user.is_active
            else state("stopped", gettext("deactivated"))
        )
        return format_html("{} {}", shown, chips)

    @admin.display(description=_("conversations"))
    def conversations(self, user: User) -> str:
        if user.pk is None:
            return EMPTY_VALUE
        url = reverse("admin:chat_conversation_changelist")
        return format_html('<a href="{}?user__id__exact={}">{}</a>', url, user.pk, _("show"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        found: QuerySet[User] = super().get_queryset(request)
        return found.filter(erasure=None)

    def delete_model(self, request: HttpRequest, user: User) -> None:
        self._erase(request, [user.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._erase(request, list(queryset.values_list("pk", flat=True)))

    def _erase(self, request: HttpRequest, ids: list[int]) -> None:
        Erasure.objects.request_users(ids)
        begin_erasure(self, request)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Count the rows that are deleted too; Django would read all of them.

        Superusers delete a user with all rows that belong to the user, read-only logs included.
        """
        ids = [user.pk for user in objs]
        conversations = Conversation.objects.filter(user__in=ids)
        counts = {
            str(User._meta.verbose_name_plural): len(ids),
            str(Conversation._meta.verbose_name_plural): conversations.count(),
            str(Message._meta.verbose_name_plural): Message.objects.filter(
                conversation__user__in=ids
            ).count(),
            str(Generation._meta.verbose_name_plural): Generation.objects.filter(user__in=ids).count(),
            str(ApiKey._meta.verbose_name_plural): ApiKey.objects.filter(user__in=ids).count(),
        }
        is_allowed = request.user.is_superuser or not conversations.exists()
        missing = set() if is_allowed else {str(Conversation._meta.verbose_name)}
        return [str(user) for user in objs], counts, missing, []
