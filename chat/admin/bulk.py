"""Actions on many conversations of a list: reviewed, flag, label, assign, export."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.admin.export import export_response
from chat.errors import RequestRefused
from chat.models import Conversation, Label
from chat.review import marks
from chat.review.export import ExportFormat
from chat.review.marks import ReviewTarget
from chat.review.reviewers import reviewers

# An action on more would keep the request, and the database, for too long.
ITEMS_MAX = 1_000


class BulkActionForm(ActionForm):
    """What an action needs to know: which label, which reviewer."""

    label = forms.ModelChoiceField(
        Label.objects.filter(is_active=True),
        required=False,
        label=gettext_lazy("Label"),
        empty_label=gettext_lazy("label…"),
    )
    reviewer = forms.ModelChoiceField(
        reviewers(),
        required=False,
        label=gettext_lazy("Reviewer"),
        empty_label=gettext_lazy("reviewer…"),
    )


class BulkActions:
    """Adds the actions to the admin of conversations. Each needs its permission."""

    action_form = BulkActionForm
    actions = [
        *("mark_reviewed", "mark_flagged", "add_label", "assign"),
        *("export_jsonl", "export_fine_tuning", "export_csv", "export_markdown"),
    ]

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.review_conversation")

    def has_assign_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.manage_review")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.export_conversation")

    @admin.action(description=_("Mark reviewed"), permissions=["review"])
    def mark_reviewed(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        user = _user(request)
        chosen = _chosen(request, queryset)
        for conversation in Conversation.objects.filter(pk__in=chosen):
            marks.set_reviewed(conversation, user, is_done=True)
        _report(request, chosen)

    @admin.action(description=_("Flag"), permissions=["review"])
    def mark_flagged(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        user = _user(request)
        chosen = _chosen(request, queryset)
        for pk in chosen:
            marks.add_flag(ReviewTarget(pk), user)
        _report(request, chosen)

    @admin.action(description=_("Add the label"), permissions=["review"])
    def add_label(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        label = Label.objects.filter(pk=_id(request, "label")).first()
        if label is None:
            messages.error(request, _("Choose a label beside the action."))
            return
        chosen = _chosen(request, queryset)
        try:
            for pk in chosen:
                marks.add_label(ReviewTarget(pk), _user(request), label)
        except RequestRefused as refused:
            messages.error(request, refused.message)
            return
        _report(request, chosen)

    @admin.action(description=_("Assign to the reviewer"), permissions=["assign"])
    def assign(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        reviewer = reviewers().filter(pk=_id(request, "reviewer")).first()
        if reviewer is None:
            messages.error(request, _("Choose a reviewer beside the action."))
            return
        chosen = _chosen(request, queryset)
        count = marks.assign([ReviewTarget(pk) for pk in chosen], reviewer, _user(request))
        text = ngettext("%(count)d assigned to %(name)s.", "%(count)d assigned to %(name)s.", count)
        messages.success(request, text % {"count": count, "name": reviewer.get_username()})

    @admin.action(description=_("Export as JSON lines"), permissions=["export"])
    def export_jsonl(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return _export(request, queryset, ExportFormat.JSONL)

    @admin.action(description=_("Export for fine-tuning"), permissions=["export"])
    def export_fine_tuning(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return _export(request, queryset, ExportFormat.FINE_TUNING)

    @admin.action(description=_("Export as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return _export(request, queryset, ExportFormat.CSV)

    @admin.action(description=_("Export as Markdown"), permissions=["export"])
    def export_markdown(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return _export(request, queryset, ExportFormat.MARKDOWN)


def _export(request: HttpRequest, queryset: QuerySet[Any], kind: ExportFormat) -> HttpResponseBase:
    # Only the ids are held: 16 bytes a conversation.
    return export_response(request, list(queryset.values_list("pk", flat=True)), kind)


def _chosen(request: HttpRequest, queryset: QuerySet[Conversation]) -> list[UUID]:
    found = list(queryset.values_list("pk", flat=True)[: ITEMS_MAX + 1])
    if len(found) > ITEMS_MAX:
        text = _("Only the first %(count)d conversations were changed. Narrow the list for the others.")
        messages.warning(request, text % {"count": ITEMS_MAX})
    return found[:ITEMS_MAX]


def _report(request: HttpRequest, chosen: list[UUID]) -> None:
    text = ngettext("%(count)d conversation.", "%(count)d conversations.", len(chosen))
    messages.success(request, _("Done: ") + text % {"count": len(chosen)})


def _id(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _user(request: HttpRequest) -> AbstractUser:
    assert isinstance(request.user, AbstractUser)
    return request.user
