"""Usage for people: numbers, a chart that the server draws, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext

from chat.models import Generation, HourlyUsage
from chat.models.budget import shown_usd
from chat.text import inert_cell
from chat.usage.report import UsagePart, UsageReport, UsageSums

CHART_WIDTH, CHART_HEIGHT = 600, 140
# Fewer bars are no wider than this.
BAR_MAX_WIDTH = 60
ESTIMATED = "≈ "


def shown_count(value: int) -> str:
    return number_format(value, 0, use_l10n=True, force_grouping=True)


def source_name(source: str) -> str:
    """Return the name of a source for people."""
    if source == HourlyUsage.EMBEDDINGS:
        return gettext("embeddings")
    return str(dict(Generation.Source.choices).get(source, source))


@dataclass(frozen=True, slots=True)
class ShownSums:
    """Sums as text. An estimate begins with ≈; a cost without any price is a dash."""

    answers: str
    input_tokens: str
    output_tokens: str
    tokens: str
    cost: str
    details: str

    @classmethod
    def of(cls, sums: UsageSums) -> ShownSums:
        mark = ESTIMATED if sums.is_estimated else ""
        has_cost = bool(sums.cost_usd) or not sums.unpriced_calls
        cost = f"{mark}{shown_usd(sums.cost_usd)}" if has_cost else "–"
        parts = [
            (sums.cached_tokens, gettext("%(count)s of the input from a cache")),
            (sums.reasoning_tokens, gettext("%(count)s of the output for reasoning")),
            (sums.estimated_tokens, gettext("%(count)s estimated")),
        ]
        details = [text % {"count": shown_count(count)} for count, text in parts if count]
        return cls(
            shown_count(sums.answers),
            mark + shown_count(sums.input_tokens),
            mark + shown_count(sums.output_tokens),
            mark + shown_count(sums.tokens),
            cost,
            "; ".join(details),
        )


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A line of a table. `url`: the same page for this part only; `list_url`: the answers behind it."""

    name: str
    sums: ShownSums
    url: str = ""
    list_url: str = ""


@dataclass(frozen=True, slots=True)
class DayBar:
    """A bar in the units of the chart, from the top left."""

    x: float
    y: float
    width: float
    height: float
    label: str
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class DayChart:
    """One bar for each day. `summary`: what it says, for those who do not see it."""

    name: str
    maximum: str
    bars: list[DayBar]
    summary: str


def charts_of(report: UsageReport, url_of: Callable[[date], str] = lambda _day: "") -> list[DayChart]:
    """Return a chart of the tokens, and one of the cost if there is any. `url_of`: what a bar leads to."""
    charts = [_chart(report, gettext("Tokens"), lambda sums: sums.tokens, lambda sums: sums.tokens, url_of)]
    if report.total.cost_usd:
        charts.insert(
            0, _chart(report, gettext("Cost"), lambda sums: sums.cost_usd, lambda sums: sums.cost, url_of)
        )
    return charts


def _chart(
    report: UsageReport,
    name: str,
    value: Callable[[UsageSums], Any],
    text: Callable[[ShownSums], str],
    url_of: Callable[[date], str],
) -> DayChart:
    values = [(day, float(value(sums)), text(ShownSums.of(sums))) for day, sums in report.days.items()]
    _day, highest, maximum = max(values, key=lambda each: each[1])
    scale = CHART_HEIGHT / highest if highest else 0
    step = CHART_WIDTH / len(values)
    width = min(step * 0.8, BAR_MAX_WIDTH)
    bars = [
        DayBar(
            x=round(number * step + (step - width) / 2, 1),
            y=round(CHART_HEIGHT - amount * scale, 1),
            width=round(width, 1),
            height=round(amount * scale, 1),
            label=date_format(day, "j M Y"),
            text=shown,
            url=url_of(day),
        )
        for number, (day, amount, shown) in enumerate(values)
    ]
    first, last = bars[0].label, bars[-1].label
    summary = gettext("%(first)s to %(last)s; highest %(maximum)s. The table of days has every number.") % {
        "first": first,
        "last": last,
        "maximum": maximum,
    }
    return DayChart(name, maximum, bars, summary)


def day_rows(report: UsageReport, url_of: Callable[[date], str] = lambda _day: "") -> list[UsageRow]:
    """Return the days with any usage, the newest first."""
    used = [(day, sums) for day, sums in report.days.items() if sums.calls or sums.answers]
    return [
        UsageRow(date_format(day, "j M Y"), ShownSums.of(sums), list_url=url_of(day))
        for day, sums in reversed(used)
    ]


def name_of(dimension: str, part: UsagePart) -> str:
    """Return the name of a part for people."""
    if dimension == "source":
        return source_name(str(part.key))
    if part.key in (None, ""):
        return {
            "user": gettext("deleted users"),
            "group": gettext("in no group"),
            "key": gettext("without a key"),
        }.get(dimension, "–")
    return part.name


_CSV_NUMBERS = {
    "answers": "answers",
    "calls": "calls",
    "input_tokens": "input tokens",
    "cached_tokens": "of these cached",
    "output_tokens": "output tokens",
    "reasoning_tokens": "of these reasoning",
    "estimated_tokens": "of both estimated",
    "cost_usd": "cost (USD)",
}


def csv_of(report: UsageReport, columns: dict[str, str]) -> Iterator[str]:
    """Yield a table for spreadsheets, a line at a time. `columns`: of the hourly rows, and their headings."""
    yield "\ufeff" + _line(["day", *columns.values(), *_CSV_NUMBERS.values()])
    for day, key, sums in report.table(*columns):
        yield _line([day, *map(inert_cell, key), *(getattr(sums, name) for name in _CSV_NUMBERS)])


def _line(values: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue()
