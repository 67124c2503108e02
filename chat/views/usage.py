"""The page on which users see what they have used, and what remains of their budgets."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from chat.models import Budget, BudgetUse
from chat.models.budget_use import remaining
from chat.usage import hourly
from chat.usage.periods import CHOICES, ChosenPeriod, chosen_period
from chat.usage.report import UsageFilter, UsageReport, read_usage
from chat.usage.shown import ShownSums, UsageRow, charts_of, csv_of, day_rows, name_of
from chat.views.access import AuthenticatedRequest, account_page, signed_in

# The hours that a page adds up itself; the cleanup does the rest.
SPANS_PER_PAGE = 1


@dataclass(frozen=True, slots=True)
class ShownBudget:
    """A budget of the user. `share`: in percent, at most 100."""

    name: str
    used: str
    # What answers in progress may still take; empty: nothing.
    held: str
    left: str
    share: int
    is_nearly_used: bool
    renewal: str

    @classmethod
    def of(cls, budget: Budget, use: BudgetUse) -> ShownBudget:
        share = min(100, use.used * 100 // budget.limit) if budget.limit else 100
        return cls(
            budget.name_for_user(),
            budget.used_of_limit(use.used),
            budget.shown(use.reserved) if use.reserved > 0 else "",
            budget.shown(max(0, budget.limit - use.used - use.reserved)),
            share,
            share >= budget.warning_percent,
            budget.renewal(),
        )


@signed_in("GET")
def page(request: AuthenticatedRequest) -> HttpResponse:
    """Show the page."""
    is_complete = hourly.catch_up(spans_max=SPANS_PER_PAGE)
    chosen = chosen_period(request.GET)
    report = _report(request, chosen)
    context = {
        "budgets": [ShownBudget.of(*each) for each in remaining(request.user.pk)],
        "periods": [(value, name, value == chosen.name) for value, name in CHOICES.items()],
        "chosen": chosen,
        "is_complete": is_complete,
        "is_empty": not report.total.calls,
        "total": ShownSums.of(report.total),
        "unpriced": report.total.unpriced_calls,
        "charts": charts_of(report),
        "days": day_rows(report),
        "models": _rows(report, "model"),
        "sources": _rows(report, "source"),
        "keys": _rows(report, "key") if report.rows.filter(api_key__isnull=False).exists() else [],
    }
    return render(request, "accounts/usage.html", context)


@account_page
def download(request: AuthenticatedRequest) -> HttpResponseBase:
    """Download the days of a period as CSV."""
    chosen = chosen_period(request.GET)
    report = _report(request, chosen)
    lines = csv_of(report, {"model_name": "model", "source": "source", "api_key__name": "API key"})
    response = StreamingHttpResponse(list(lines), content_type="text/csv; charset=utf-8")
    name = f"usage-{chosen.period.first}-{chosen.period.last}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _report(request: AuthenticatedRequest, chosen: ChosenPeriod) -> UsageReport:
    return read_usage(chosen.period, UsageFilter(user_id=request.user.pk))


def _rows(report: UsageReport, dimension: str) -> list[UsageRow]:
    return [UsageRow(name_of(dimension, part), ShownSums.of(part.sums)) for part in report.by(dimension)]
