"""Retention policies with a dry run, legal holds, and the report of what was erased."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import LogAdmin, StyledAdmin, ago, number
from chat.models import LegalHold, RetentionPolicy, RetentionReport
from chat.review.retention import dry_run


@admin.register(RetentionPolicy)
class RetentionPolicyAdmin(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["whose", "kind", "days", "action", "is_active"]
    list_display_links = ["whose"]
    list_select_related = ["group"]
    change_list_template = "admin/chat/retentionpolicy/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dry_run_view)
        return [path("dry-run/", view, name="chat_retentionpolicy_dry_run"), *super().get_urls()]

    def dry_run_view(self, request: HttpRequest) -> HttpResponse:
        """Count what the policies would erase now. Changes nothing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("What would be erased now"),
            "opts": self.opts,
            "media": self.media,
            "counts": dry_run(),
            "holds": LegalHold.objects.active().count(),
        }
        return TemplateResponse(request, "admin/chat/retentionpolicy/dry_run.html", context)

    @admin.display(description=_("users of"), ordering="group__name")
    def whose(self, policy: RetentionPolicy) -> str:
        return str(policy.group or _("everybody else"))


@admin.register(LegalHold)
class LegalHoldAdmin(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Holds are added and released. They are never changed or deleted: who held what, and when, stays."""

    list_display = ["what", "reason", "author_name", "created", "released"]
    list_select_related = ["user"]
    raw_id_fields = ["user", "conversation"]
    actions = ["release"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The action needs it; the fields of a stored hold are read-only.
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["user", "conversation", "reason"] if obj is not None else []

    def save_model(self, request: HttpRequest, obj: LegalHold, form: Any, change: bool) -> None:
        if not change:
            obj.author_name = request.user.get_username()
        super().save_model(request, obj, form, change)

    @admin.action(description=_("Release"), permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[LegalHold]) -> None:
        count = queryset.filter(released_at=None).update(
            released_at=timezone.now(), released_by_name=request.user.get_username()
        )
        messages.success(request, _("Released: %(count)d.") % {"count": count})

    @admin.display(description=_("on"))
    def what(self, hold: LegalHold) -> str:
        # Not the title of the conversation, which the user may not be allowed to see.
        return str(hold.user) if hold.user_id is not None else f"conversation {hold.conversation_id}"

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, hold: LegalHold) -> str:
        return ago(hold.created_at)

    @admin.display(description=_("released"), ordering="released_at")
    def released(self, hold: LegalHold) -> str:
        return ago(hold.released_at, hold.released_by_name)


@admin.register(RetentionReport)
class RetentionReportAdmin(LogAdmin):
    list_display = ["day", "policy", "action", "conversations_erased", "messages_erased"]
    list_filter = ["day", "action"]

    @admin.display(description=_("conversations"), ordering="conversations")
    def conversations_erased(self, report: RetentionReport) -> str:
        return number(report.conversations)

    @admin.display(description=_("messages"), ordering="messages_count")
    def messages_erased(self, report: RetentionReport) -> str:
        return number(report.messages_count)
