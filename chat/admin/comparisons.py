"""What users preferred when they had answers side by side."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import F, Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.admin.access import RecordedAdmin
from chat.admin.logs import ago
from chat.models import Comparison, Generation, Message


class DecisionFilter(admin.SimpleListFilter):
    title = gettext_lazy("decision")
    parameter_name = "decision"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("preferred", gettext_lazy("one was preferred")),
            ("tie", gettext_lazy("no preference")),
            ("open", gettext_lazy("not decided")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted: dict[str, dict[str, Any]] = {
            "preferred": {"chosen__isnull": False},
            "tie": {"chosen": None, "decided_at__isnull": False},
            "open": {"decided_at": None},
        }
        return queryset.filter(**wanted.get(self.value() or "", {}))


@admin.register(Comparison)
class ComparisonAdmin(RecordedAdmin):
    list_display = ["preferred", "beside", "user", "asked", "question_link"]
    list_filter = [DecisionFilter]
    list_select_related = ["user"]
    search_fields = ["user__username"]
    search_help_text = gettext_lazy("Username")
    ordering = ["-id"]
    fields = ["preferred", "beside", "user", "asked", "question_link"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        answers = Prefetch("question__children", Message.objects.only("parent"))
        runs = Prefetch(
            "question__children__generations", Generation.objects.only("message", "model_name").order_by("pk")
        )
        found: QuerySet[Any] = rows.annotate(conversation_pk=F("question__conversation_id"))
        return found.prefetch_related(answers, runs)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A preference is one more kind of feedback."""
        return request.user.has_perm("chat.view_feedback")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def conversation_of(self, comparison: Any) -> tuple[UUID, int]:
        return comparison.conversation_pk, comparison.user_id

    @admin.display(description=gettext_lazy("preferred"))
    def preferred(self, comparison: Any) -> str:
        if comparison.decided_at is None:
            return _("not decided")
        if comparison.chosen_id is None:
            return _("no preference")
        return _models_of(comparison).get(comparison.chosen_id, "-")

    @admin.display(description=gettext_lazy("compared"))
    def beside(self, comparison: Any) -> str:
        names = _models_of(comparison)
        return ", ".join(names[pk] for pk in comparison.answers if pk in names)

    @admin.display(description=gettext_lazy("asked"), ordering="id")
    def asked(self, comparison: Comparison) -> str:
        return ago(comparison.created_at)

    @admin.display(description=gettext_lazy("question"))
    def question_link(self, comparison: Any) -> str:
        url = reverse("admin:chat_conversation_change", args=[comparison.conversation_pk])
        pk = comparison.question_id
        return format_html('<a href="{}?message={}#m{}">{}</a>', url, pk, pk, _("show"))


def _models_of(comparison: Comparison) -> dict[int, str]:
    """Return the names of the models, by the ids of their answers."""
    answers = comparison.question.children.all()
    return {answer.pk: run.model_name for answer in answers for run in answer.generations.all()}
