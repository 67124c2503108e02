"""The table of patterns, measured from the log of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest

from chat.admin.logs import NOTHING, number
from chat.usage import patterns

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

DAYS = (1, 7, 30)
DEFAULT_DAYS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One pattern; its figures are empty where there is no answer."""

    label: StrPromise
    figures: Figures | None
    complexity: StrPromise
    best_for: StrPromise


@dataclass(frozen=True, slots=True)
class Figures:
    answers: str
    failures: str
    first_text: str
    to_the_end: str
    tokens_per_s: str
    cost: str


@dataclass(frozen=True, slots=True)
class Table:
    """`rows_max`: how many of the newest answers it looked at, at most."""

    days: int
    choices: tuple[int, ...]
    rows_max: int
    lines: list[Line]


def table(request: HttpRequest) -> Table:
    """Read the page for the days that it asks for, or the usual ones: one query."""
    asked = request.GET.get("days", "")
    days = next((each for each in DAYS if asked == str(each)), DEFAULT_DAYS)
    found = patterns.from_logs(days)
    return Table(days, DAYS, patterns.ROWS_MAX, [_line(*each) for each in found.items()])


def _line(pattern: patterns.Pattern, measured: patterns.Measured | None) -> Line:
    figures = None if measured is None else _figures(measured)
    return Line(pattern.label, figures, pattern.complexity, pattern.best_for)


def _figures(measured: patterns.Measured) -> Figures:
    return Figures(
        answers=number(measured.answers),
        failures=number(measured.failures),
        first_text=_both(measured.first_median_s, measured.first_p95_s),
        to_the_end=_both(measured.end_median_s, measured.end_p95_s),
        tokens_per_s=number(None if measured.tokens_per_s is None else f"{measured.tokens_per_s:.0f}"),
        cost=number(None if measured.cost_usd is None else f"${measured.cost_usd:.4f}"),
    )


def _both(median_s: float | None, p95_s: float | None) -> str:
    return number(NOTHING if median_s is None else f"{median_s:.1f} s / {p95_s:.1f} s")
