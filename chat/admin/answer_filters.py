"""Filters of the lists behind the figures of the dashboard: by when something ended, was given, or active."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.admin.conversation_filters import ChoiceFilter, GroupFilter, InputFilter, start_of
from chat.models import ActiveDay
from chat.usage import behind


class DayFilter(InputFilter):
    """A day. `lookup`: how a time compares with its beginning, or with its end for `until`."""

    input_type = "date"
    days_after = 0
    lookup = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start = start_of(self.value())
        if start is None:
            return queryset
        return queryset.filter(**{self.lookup: behind.first_hour(start + timedelta(days=self.days_after))})


class EndedSinceFilter(DayFilter):
    title, parameter_name, lookup = _("ended from"), "since", "finished_at__gte"


class EndedUntilFilter(DayFilter):
    title, parameter_name, lookup, days_after = _("ended until"), "until", "finished_at__lt", 1


class GivenSinceFilter(DayFilter):
    title, parameter_name, lookup = _("given from"), "since", "updated_at__gte"


class GivenUntilFilter(DayFilter):
    title, parameter_name, lookup, days_after = _("given until"), "until", "updated_at__lt", 1


class FigureFilter(ChoiceFilter):
    title = _("what happened")
    parameter_name = "what"
    choices_ = {
        "first": _("First answer of a conversation"),
        "failed": _("Failed or interrupted"),
        "recovered": _("Recovered"),
        "with_text": _("With a first text"),
    }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = behind.ANSWERS.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


class ModelNameFilter(InputFilter):
    title = _("model's name")
    parameter_name = "named"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(model_name=self.value()) if self.value() else queryset


class ActiveSinceFilter(InputFilter):
    """Users who got an answer on a day or later, until the day of the filter below."""

    title, parameter_name, input_type = _("active from"), "since", "date"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start = start_of(self.value())
        if start is None:
            return queryset
        last = start_of(request.GET.get(ActiveUntilFilter.parameter_name)) or timezone.now()
        active = behind.active_users(start, last + timedelta(days=1))
        return queryset.filter(pk__in=active.values("user"))


class ActiveUntilFilter(InputFilter):
    title, parameter_name, input_type = _("active until"), "until", "date"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        end = start_of(self.value())
        if end is None or start_of(request.GET.get(ActiveSinceFilter.parameter_name)):
            return queryset
        _first, last = behind.utc_days(end, end + timedelta(days=1))
        return queryset.filter(pk__in=ActiveDay.objects.filter(day__lte=last).values("user"))


PERIOD_OF_ANSWERS: list[Any] = [
    EndedSinceFilter,
    EndedUntilFilter,
    FigureFilter,
    ModelNameFilter,
    GroupFilter,
]
PERIOD_OF_FEEDBACK: list[Any] = [GivenSinceFilter, GivenUntilFilter, ModelNameFilter, GroupFilter]
