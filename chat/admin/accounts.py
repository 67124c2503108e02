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
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import EMPTY_VALUE

admin.site.unregister(User)


@admin.register(User)
class UserAdmin(auth_admin.UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    list_display = ["username", "email", "first_name", "last_name", "is_staff", "conversations"]
    readonly_fields = ["conversations"]
    fieldsets = (
        *(auth_admin.UserAdmin.fieldsets or ()),
        (_("Conversations"), {"fields": ["conversations"]}),
    )

    @admin.display(description=_("conversations"))
    def conversations(self, user: User) -> str:
        if user.pk is None:
            return EMPTY_VALUE
        url = reverse("admin:chat_conversation_changelist")
        return format_html('<a href="{}?user__id__exact={}">{}</a>', url, user.pk, _("show"))

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Let superusers delete a user with all rows that belong to the user, read-only logs included."""
        names, counts, missing, protected = super().get_deleted_objects(objs, request)
        if request.user.is_superuser:
            missing = set()
        return names, counts, missing, protected
