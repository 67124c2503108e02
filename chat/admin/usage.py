"""The page of usage for staff: by user, group, model, key and source, narrowed by any of them, and as CSV."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import ReadOnlyAdmin, StyledAdmin
from chat.models import ApiKey, Generation, HourlyUsage
from chat.usage import hourly
from chat.usage.periods import CHOICES, ChosenPeriod, chosen_period
from chat.usage.report import UsageFilter, UsagePart, UsageReport, read_usage
from chat.usage.shown import ShownSums, UsageRow, charts_of, csv_of, day_rows, name_of, source_name

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

# The hours that a page adds up itself; the cleanup does the rest.
SPANS_PER_PAGE = 1
# How many users and keys a table has; the CSV has all.
ROWS_MAX = 50
TABLES: dict[str, tuple[StrPromise, StrPromise]] = {
    "user": (_("By user"), _("User")),
    "group": (_("By group"), _("Group")),
    "model": (_("By model"), _("Model")),
    "key": (_("By API key"), _("API key")),
    "source": (_("By source"), _("Source")),
}
CSV_COLUMNS = {
    "user__username": "user",
    "model_name": "model",
    "source": "source",
    "api_key__name": "API key",
}
SOURCES = (*Generation.Source.values, HourlyUsage.EMBEDDINGS)


@admin.register(HourlyUsage)
class UsageAdmin(StyledAdmin, ReadOnlyAdmin, admin.ModelAdmin):  # type: ignore[type-arg]
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.usage_view), name="chat_hourlyusage_changelist"),
            path("download/", view(self.download_view), name="chat_hourlyusage_download"),
        ]

    def usage_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what was used in a period."""
        self._check(request)
        is_complete = hourly.catch_up(spans_max=SPANS_PER_PAGE)
        page = UsagePage(request)
        context = {
            **self.admin_site.each_context(request),
            **page.context(),
            "title": _("Usage"),
            "opts": self.opts,
            "media": self.media,
            "is_complete": is_complete,
        }
        response = TemplateResponse(request, "admin/chat/hourlyusage/usage.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    def download_view(self, request: HttpRequest) -> HttpResponseBase:
        """Download the days of the period, by user, model, source and key."""
        self._check(request)
        page = UsagePage(request)
        lines = csv_of(page.report, CSV_COLUMNS)
        response = StreamingHttpResponse(list(lines), content_type="text/csv; charset=utf-8")
        name = f"usage-{page.chosen.period.first}-{page.chosen.period.last}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "no-store"
        return response

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


class UsagePage:
    """What the address of a request chooses, and the addresses that lead on from it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.chosen: ChosenPeriod = chosen_period(request.GET)
        self.narrowed = filter_of(request)
        self.report: UsageReport = read_usage(self.chosen.period, self.narrowed)

    def context(self) -> dict[str, Any]:
        """Return the values of the template."""
        report, narrowed = self.report, self.narrowed
        is_for_one_user = narrowed.user_id is not None
        tables = [name for name in TABLES if name not in narrowed.query]
        return {
            "chosen": self.chosen,
            "periods": [
                (self._address(period={"period": value}), name, value == self.chosen.name)
                for value, name in CHOICES.items()
            ],
            "narrowed": [(_narrowed_name(narrowed, name), self._without(name)) for name in narrowed.query],
            "hidden": narrowed.query,
            "groups": Group.objects.order_by("name"),
            "sources": [(source, source_name(source)) for source in SOURCES],
            "is_empty": not report.total.calls,
            "total": ShownSums.of(report.total),
            "unpriced": report.total.unpriced_calls,
            "list_url": self._list(),
            "charts": charts_of(report, self._list),
            "days": day_rows(report, self._list),
            "tables": [
                (*TABLES[name], self._rows(name))
                for name in tables
                if not (is_for_one_user and name == "group")
            ],
            "csv_url": f"{reverse('admin:chat_hourlyusage_download')}?{self._query()}",
        }

    def _rows(self, dimension: str) -> list[UsageRow]:
        return [self._row(dimension, part) for part in self.report.by(dimension, ROWS_MAX)]

    def _row(self, dimension: str, part: UsagePart) -> UsageRow:
        name, sums = name_of(dimension, part), ShownSums.of(part.sums)
        if part.key in (None, ""):
            return UsageRow(name, sums)
        more = {dimension: str(part.key)}
        return UsageRow(name, sums, self._address(more), self._list(more=more))

    def _query(self) -> str:
        return self._address().partition("?")[2]

    def _address(self, more: dict[str, str] | None = None, period: dict[str, str] | None = None) -> str:
        query = {**(period or self.chosen.query), **self.narrowed.query, **(more or {})}
        return reverse("admin:chat_hourlyusage_changelist", query=query)

    def _without(self, name: str) -> str:
        others = {key: value for key, value in self.narrowed.query.items() if key != name}
        return reverse("admin:chat_hourlyusage_changelist", query={**self.chosen.query, **others})

    def _list(self, day: date | None = None, more: dict[str, str] | None = None) -> str:
        """Return the list of answers behind a figure; empty if there is none, or the user may not see it."""
        chosen = {**self.narrowed.query, **(more or {})}
        is_embedding = chosen.get("source") == HourlyUsage.EMBEDDINGS
        if is_embedding or not self._request.user.has_perm("chat.view_generation"):
            return ""
        period = self.chosen.period
        query = {"since": f"{day or period.first}", "until": f"{day or period.last}"}
        names = {
            "user": "user__id__exact",
            "group": "group",
            "model": "named",
            "key": "api_key__id__exact",
            "source": "source__exact",
        }
        query |= {names[name]: value for name, value in chosen.items()}
        return reverse("admin:chat_generation_changelist", query=query)


def filter_of(request: HttpRequest) -> UsageFilter:
    """Return what the address narrows the page to. What it cannot mean is left out."""
    found: dict[str, Any] = {}
    query: dict[str, str] = {}
    names = {"user": "user_id", "group": "group_id", "key": "api_key_id"}
    for name, attribute in names.items():
        value = request.GET.get(name, "")
        if value.isascii() and value.isdigit() and len(value) < 10:
            found[attribute], query[name] = int(value), value
    username = request.GET.get("username", "").strip()
    if username and "user" not in query:
        user_id = User.objects.filter(username__iexact=username).values_list("pk", flat=True).first() or 0
        found["user_id"], query["user"] = user_id, str(user_id)
    if model := request.GET.get("model", "")[:200]:
        found["model_name"] = query["model"] = model
    if (source := request.GET.get("source", "")) in SOURCES:
        found["source"] = query["source"] = source
    return UsageFilter(**found, query=query)


def _narrowed_name(narrowed: UsageFilter, name: str) -> str:
    """Return what the page is narrowed to, for its chip."""
    match name:
        case "user":
            found: Any = User.objects.filter(pk=narrowed.query[name]).first() or _("no such user")
        case "group":
            found = Group.objects.filter(pk=narrowed.query[name]).first() or _("no such group")
        case "key":
            found = ApiKey.objects.filter(pk=narrowed.query[name]).first() or _("no such key")
        case "source":
            found = source_name(narrowed.source or "")
        case _:
            found = narrowed.model_name
    return f"{TABLES[name][1]}: {found}"
