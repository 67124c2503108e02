"""The filters of the list of conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext_lazy as _

from chat.models import Assignment, Feedback, Generation, Label, Mark, SavedView

DAYS = {"today": 0, "7": 7, "30": 30, "90": 90}
COSTS_USD = ("0.01", "0.1", "1", "10")
LANGUAGES = (
    *("en", "zh", "es", "de", "fr", "ja", "ru", "pt", "it", "ko", "ar", "nl", "pl", "tr", "vi", "id", "sv"),
    *("uk", "hi", "th", "el", "he"),
)


class ChoiceFilter(admin.SimpleListFilter):
    """A filter with fixed choices. `conditions`: by value, the condition of a conversation."""

    choices_: dict[str, Any] = {}
    conditions: dict[str, Callable[[], Q]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.choices_.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = self.conditions.get(self.value() or "")
        return queryset.filter(condition()) if condition else queryset


class StateFilter(ChoiceFilter):
    title = _("what happened")
    parameter_name = "state"
    choices_ = {
        "failed": _("Failed"),
        "interrupted": _("Interrupted"),
        "recovered": _("Recovered"),
        "refused": _("Refused by a content filter"),
        "slow": _("Slow first word"),
        "running": _("Running now"),
        "thumbs_down": _("Thumbs down"),
        "thumbs_up": _("Thumbs up"),
    }
    conditions = {
        "failed": lambda: Q(summary__has_failed=True),
        "interrupted": lambda: Q(summary__has_interrupted=True),
        "recovered": lambda: Q(summary__has_recovered=True),
        "refused": lambda: Q(summary__has_refused=True),
        "slow": lambda: Q(summary__has_slow=True),
        "running": lambda: Q(pk__in=Generation.objects.active().values("message__conversation")),
        "thumbs_down": lambda: Q(pk__in=Feedback.objects.filter(value=-1).values("message__conversation")),
        "thumbs_up": lambda: Q(pk__in=Feedback.objects.filter(value=1).values("message__conversation")),
    }


class ReviewFilter(ChoiceFilter):
    title = _("review")
    parameter_name = "review"
    choices_ = {
        "unreviewed": _("Unreviewed"),
        "reviewed": _("Reviewed"),
        "flagged": _("Flagged"),
        "judged": _("With a verdict"),
        "noted": _("With a note"),
    }
    conditions = {
        "unreviewed": lambda: ~Q(pk__in=Assignment.objects.done().values("conversation")),
        "reviewed": lambda: Q(pk__in=Assignment.objects.done().values("conversation")),
        "flagged": lambda: Q(pk__in=Mark.objects.open_flags().values("conversation")),
        "judged": lambda: Q(pk__in=Mark.objects.filter(kind=Mark.Kind.VERDICT).values("conversation")),
        "noted": lambda: Q(pk__in=Mark.objects.filter(kind=Mark.Kind.NOTE).values("conversation")),
    }


class DeletedFilter(ChoiceFilter):
    title = _("deleted by user")
    parameter_name = "deleted"
    choices_ = {"no": _("No"), "yes": _("Yes")}
    conditions = {"no": lambda: Q(deleted_at=None), "yes": lambda: Q(deleted_at__isnull=False)}


class ListedFilter(ChoiceFilter):
    title = _("chat or program")
    parameter_name = "kind"
    choices_ = {"chat": _("Chat"), "program": _("Program (API, batch)")}
    conditions = {"chat": lambda: Q(is_hidden=False), "program": lambda: Q(is_hidden=True)}


class SourceFilter(ChoiceFilter):
    title = _("source")
    parameter_name = "source"
    choices_ = dict(Generation.Source.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(summary__source=self.value()) if self.value() in self.choices_ else queryset


class LanguageFilter(ChoiceFilter):
    title = _("language")
    parameter_name = "language"
    choices_ = {code: code for code in LANGUAGES} | {"unknown": _("not known")}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value not in self.choices_:
            return queryset
        return queryset.filter(summary__language="" if value == "unknown" else value)


class CostFilter(ChoiceFilter):
    title = _("cost")
    parameter_name = "cost"
    choices_ = {cost: f"≥ {cost} USD" for cost in COSTS_USD}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(summary__cost_usd__gte=self.value()) if self.value() in COSTS_USD else queryset


class RowFilter(admin.SimpleListFilter):
    """A filter whose choices are rows: groups, labels, samples."""

    def rows(self) -> dict[str, str]:
        raise NotImplementedError

    def condition(self, pk: str) -> Q:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.rows().items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        known = {str(pk) for pk, _name in self.lookup_choices}
        return queryset.filter(self.condition(value)) if value is not None and value in known else queryset


class GroupFilter(RowFilter):
    title = _("group")
    parameter_name = "group"

    def rows(self) -> dict[str, str]:
        return {str(pk): name for pk, name in Group.objects.order_by("name").values_list("pk", "name")}

    def condition(self, pk: str) -> Q:
        return Q(user__in=Group.objects.filter(pk=pk).values("user"))


class LabelFilter(RowFilter):
    title = _("label")
    parameter_name = "label"

    def rows(self) -> dict[str, str]:
        return {str(label.pk): label.name for label in Label.objects.all()}

    def condition(self, pk: str) -> Q:
        return Q(pk__in=Mark.objects.filter(kind=Mark.Kind.LABEL, label_id=int(pk)).values("conversation"))


class SampleFilter(RowFilter):
    title = _("sample")
    parameter_name = "sample"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the sample of the address only. The menu of views has all of them."""
        pk = request.GET.get(self.parameter_name, "")
        if not (pk.isascii() and pk.isdigit() and len(pk) < 16):
            return []
        return [(pk, name) for name in SavedView.objects.filter(pk=pk).values_list("name", flat=True)]

    def condition(self, pk: str) -> Q:
        return Q(pk__in=SavedView.objects.get(pk=pk).ids)


class InputFilter(admin.SimpleListFilter):
    """A filter into which a value is typed."""

    template = "admin/input_filter.html"
    input_type = "text"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("", "")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield one choice: the value, and the other parameters of the address."""
        others = changelist.get_filters_params()
        kept = [
            (name, value)
            for name, values in changelist.filter_params.items()
            if name != self.parameter_name and name in others
            for value in values
        ]
        if changelist.query:
            kept.append(("q", changelist.query))
        yield {
            "value": self.value() or "",
            "name": self.parameter_name,
            "type": self.input_type,
            "kept": kept,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
        }


class UserFilter(InputFilter):
    title = _("user")
    parameter_name = "username"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = (self.value() or "").strip()
        return queryset.filter(user__username__iexact=name) if name else queryset


class PeriodFilter(ChoiceFilter):
    title = _("last message")
    parameter_name = "period"
    choices_ = {
        "today": _("Today"),
        "7": _("Past 7 days"),
        "30": _("Past 30 days"),
        "90": _("Past 90 days"),
    }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = DAYS.get(self.value() or "")
        if days is None:
            return queryset
        midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        return queryset.filter(updated_at__gte=midnight - timedelta(days=days))


class SinceFilter(InputFilter):
    title = _("from")
    parameter_name = "since"
    input_type = "date"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start = start_of(self.value())
        return queryset.filter(updated_at__gte=start) if start else queryset


class UntilFilter(InputFilter):
    title = _("until")
    parameter_name = "until"
    input_type = "date"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start = start_of(self.value())
        return queryset.filter(updated_at__lt=start + timedelta(days=1)) if start else queryset


def start_of(day: str | None) -> datetime | None:
    """Return the beginning of a day that is written YYYY-MM-DD; None for anything else."""
    try:
        date = parse_date(day or "")
    except ValueError:
        return None
    if date is None or not 1970 <= date.year < 9999:
        return None
    return timezone.make_aware(datetime(date.year, date.month, date.day))  # noqa: DTZ001 - made aware here


FILTERS: list[Any] = [
    *(PeriodFilter, SinceFilter, UntilFilter, UserFilter, GroupFilter, "model"),
    *(StateFilter, ReviewFilter, LabelFilter, CostFilter, SourceFilter, LanguageFilter),
    *(ListedFilter, DeletedFilter, SampleFilter),
]
