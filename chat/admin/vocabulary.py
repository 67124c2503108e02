"""The vocabulary of reviewers: labels with colours, and the rubric."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import StyledAdmin, number
from chat.models import Criterion, Label


def chip(label: Label) -> str:
    """Return a label as a coloured chip."""
    return format_html('<span class="chip chip-{}">{}</span>', label.colour, label.name)


class NamedFields(StyledAdmin, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Gives the fields in the rows of a list the name of their column, for those who do not see it."""

    def get_changelist_formset(self, request: HttpRequest, **kwargs: Any) -> Any:
        formset = super().get_changelist_formset(request, **kwargs)
        for field in formset.form.base_fields.values():
            field.widget.attrs["aria-label"] = field.label
        return formset


@admin.register(Label)
class LabelAdmin(NamedFields):
    list_display = ["name", "preview", "description", "uses", "is_active"]
    list_editable = ["is_active"]
    search_fields = ["name", "description"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Label]:
        found: QuerySet[Label] = super().get_queryset(request)
        return found.annotate(uses_count=Count("marks"))

    @admin.display(description=_("looks like"))
    def preview(self, label: Label) -> str:
        return chip(label)

    @admin.display(description=_("used"), ordering="uses_count")
    def uses(self, label: Label) -> str:
        return number(getattr(label, "uses_count", None))


@admin.register(Criterion)
class CriterionAdmin(NamedFields):
    list_display = ["name", "question", "scale", "position", "is_active"]
    list_editable = ["position", "is_active"]

    def get_readonly_fields(self, request: HttpRequest, criterion: Criterion | None = None) -> list[str]:
        """Keep the scale of a criterion that verdicts were given on: their values would change meaning."""
        has_verdicts = criterion is not None and criterion.marks.exists()
        return ["scale"] if has_verdicts else []
