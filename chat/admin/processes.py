"""Processes: which are running, since when, and their status."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import LogAdmin, ago, number, pretty
from chat.admin.operations import operations_page
from chat.admin.operator_actions import OperatorActionForm, may_operate
from chat.admin.patterns import patterns_table
from chat.models import Process


@admin.register(Process)
class ProcessAdmin(LogAdmin):
    list_display = ["__str__", "kind", "url", "version", "started", "seen", "heartbeats"]
    fields = ["id", "kind", "host", "pid", "url", "version", "started", "seen", "heartbeats", "status_json"]
    change_list_template = "admin/chat/process/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("operations/", view(self.operations_view), name="chat_process_operations"),
            path("patterns/", view(self.patterns_view), name="chat_process_patterns"),
            *super().get_urls(),
        ]

    def operations_view(self, request: HttpRequest) -> HttpResponse:
        """Show the status of all processes; apply the actions of operators."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._apply_action(request)
        context = {
            "title": _("Operations"),
            "operations": operations_page(),
            "may_operate": may_operate(request.user),
            "is_refresh_paused": "still" in request.GET,
        }
        return self._page(request, "operations", context)

    def patterns_view(self, request: HttpRequest) -> HttpResponse:
        """Compare the execution patterns by the answers of the last days."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {"title": _("Execution patterns"), "table": patterns_table(request)}
        return self._page(request, "patterns", context)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        page = TemplateResponse(request, f"admin/chat/process/{name}.html", context)
        page.headers["Cache-Control"] = "no-store"
        return page

    def _apply_action(self, request: HttpRequest) -> HttpResponse:
        if not may_operate(request.user):
            raise PermissionDenied
        form = OperatorActionForm(request.POST)
        if not form.is_valid():
            return HttpResponseBadRequest(_("Unknown action."))
        assert request.user.is_authenticated
        messages.success(request, form.apply(request.user))
        return HttpResponseRedirect(request.get_full_path())

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, process: Process) -> str:
        return ago(process.started_at)

    @admin.display(description=_("last seen"), ordering="seen_at")
    def seen(self, process: Process) -> str:
        return ago(process.seen_at)

    @admin.display(description=_("heartbeats"))
    def heartbeats(self, process: Process) -> str:
        return number(process.counter)

    @admin.display(description=_("status"))
    def status_json(self, process: Process) -> str:
        return pretty(process.status)
