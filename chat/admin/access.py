"""The access log: its pages, the page that asks for a reason, and the recording of what staff read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from typing import Any

from channels.db import database_sync_to_async
from django.contrib import admin
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import EMPTY_VALUE, LogAdmin, ago
from chat.models import AccessRecord
from chat.models.access_record import chain_faults
from chat.review import access
from chat.text import clean

FAULTS_SHOWN = 50
NO_FILTERS = {SEARCH_VAR, PAGE_VAR, ORDER_VAR, ALL_VAR, ERROR_FLAG, "_changelist_filters", "_facets"}
EXPORT_ROWS = 500


class RecordedAdmin(LogAdmin):
    """A read-only list of what belongs to users: searches in it are recorded, and so is opening a row."""

    def conversation_of(self, obj: Any) -> tuple[Any, int] | None:
        """Return the ids of the conversation that the page of `obj` shows, and of its user."""
        raise NotImplementedError

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Deny filters of the address on texts, which would be searches that are not recorded."""
        name = lookup.split("__")[0]
        field = next((each for each in self.opts.get_fields() if each.name == name), None)
        is_text = isinstance(field, models.CharField | models.TextField | models.JSONField)
        if is_text and not getattr(field, "choices", None) and name not in self.get_list_filter(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self.has_view_or_change_permission(request):
            # The list has titles, which are the beginnings of messages.
            if access.needs_reason(request):
                return ask_for_reason(request)
            words, filters = request.GET.get("q", "").strip(), _filters_of(request)
            if words or filters:
                details = {"filters": filters} if filters else {}
                access.record_search(request, words, table=self.opts.model_name, **details)
        return super().changelist_view(request, extra_context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is not None and self.has_view_permission(request, obj):
            if access.needs_reason(request):
                return ask_for_reason(request)
            found = self.conversation_of(obj)
            if found is not None:
                access.record_open(request, *found, page=self.opts.model_name, row=str(obj.pk))
        return super().change_view(request, object_id, form_url, extra_context)


def _filters_of(request: HttpRequest) -> str:
    """Return the filters of a list's address: what is neither the search, the page nor the order."""
    filters = (f"{name}={value}" for name, value in request.GET.items() if value and name not in NO_FILTERS)
    # Not encoded, so that a redaction finds its words here.
    return clean("; ".join(filters))[: access.WORDS_MAX_CHARS]


def ask_for_reason(request: HttpRequest) -> HttpResponse:
    """Redirect to the page that asks for a reason and then leads to the requested address."""
    return HttpResponseRedirect(
        reverse("admin:chat_accessrecord_reason", query={"next": request.get_full_path()})
    )


@admin.register(AccessRecord)
class AccessRecordAdmin(LogAdmin):
    list_display = ["time", "actor_name", "action_name", "whose", "conversation", "address", "reason", "what"]
    list_filter = ["action", "at"]
    search_fields = ["actor_name", "=conversation_id", "address", "reason"]
    search_help_text = _("Username of who acted, conversation ID, address or reason")
    fields = [
        *("number", "time", "actor_name", "action_name", "whose", "conversation", "address", "reason"),
        *("what", "previous_hash", "hash"),
    ]
    change_list_template = "admin/chat/accessrecord/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("check/", view(self.check_view), name="chat_accessrecord_check"),
            path("export/", view(self.export_view), name="chat_accessrecord_export"),
            path("reason/", view(self.reason_view), name="chat_accessrecord_reason"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessRecord]:
        found: QuerySet[AccessRecord] = super().get_queryset(request)
        subject = get_user_model().objects.filter(pk=OuterRef("subject_id"))
        return found.annotate(subject_name=Subquery(subject.values("username")[:1]))

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """Check the chain of hashes, and show where it is broken."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        faults = list(islice(chain_faults(), FAULTS_SHOWN))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Check of the access log"),
            "opts": self.opts,
            "media": self.media,
            "faults": faults,
            "count": AccessRecord.objects.count(),
            "last": AccessRecord.objects.first(),
        }
        return TemplateResponse(request, "admin/chat/accessrecord/check.html", context)

    def export_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """Download the log as JSON lines, oldest record first. The download is recorded, too."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        record = access.record(request, AccessRecord.Action.READ_LOG)
        response = StreamingHttpResponse(_lines(record.number), content_type="application/x-ndjson")
        response["Content-Disposition"] = f'attachment; filename="access-log-{record.at:%Y-%m-%d}.jsonl"'
        return response

    def reason_view(self, request: HttpRequest) -> HttpResponse:
        """Ask why the user reads conversations of others."""
        wanted = request.POST.get("next") or request.GET.get("next", "")
        if not url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()):
            wanted = reverse("admin:index")
        if request.method == "POST" and access.keep_reason(request, request.POST.get("reason", "")):
            return HttpResponseRedirect(wanted)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Why do you need to read this?"),
            "next": wanted,
            "media": self.media,
            "minutes": access.REASON_KEPT_S // 60,
            "has_error": request.method == "POST",
        }
        return TemplateResponse(request, "admin/chat/accessrecord/reason.html", context)

    @admin.display(description=_("time"), ordering="number")
    def time(self, record: AccessRecord) -> str:
        return ago(record.at)

    @admin.display(description=_("action"), ordering="action")
    def action_name(self, record: AccessRecord) -> str:
        return record.get_action_display()

    @admin.display(description=_("whose"), ordering="subject_id")
    def whose(self, record: AccessRecord) -> str:
        if record.subject_id is None:
            return EMPTY_VALUE
        return getattr(record, "subject_name", None) or f"#{record.subject_id}"

    @admin.display(description=_("conversation"))
    def conversation(self, record: AccessRecord) -> str:
        if record.conversation_id is None:
            return EMPTY_VALUE
        url = reverse("admin:chat_conversation_change", args=[record.conversation_id])
        return format_html('<a href="{}">{}</a>', url, str(record.conversation_id)[-12:])

    @admin.display(description=_("details"))
    def what(self, record: AccessRecord) -> str:
        return ", ".join(f"{key}: {value}" for key, value in record.details.items()) or EMPTY_VALUE


async def _lines(last: int) -> AsyncIterator[bytes]:
    """Yield the records up to number `last` as JSON lines, some hundred at a time."""
    after = 0
    while page := await database_sync_to_async(partial(_page, after, last))():
        yield b"".join(_line(record) for record in page)
        after = page[-1].number


def _page(after: int, last: int) -> list[AccessRecord]:
    rows = AccessRecord.objects.filter(number__gt=after, number__lte=last)
    return list(rows.order_by("number")[:EXPORT_ROWS])


def _line(record: AccessRecord) -> bytes:
    row = {field.attname: getattr(record, field.attname) for field in AccessRecord._meta.concrete_fields}
    return json.dumps(row, default=str, ensure_ascii=True).encode() + b"\n"
