"""The table of execution patterns, measured from the answers of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest

from chat.admin.logs import EMPTY_VALUE, number
from chat.usage import patterns

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

DAYS = (1, 7, 30)
DEFAULT_DAYS = 7


@dataclass(frozen=True, slots=True)
class PatternRow:
    """One pattern. `figures` is None if there are no answers."""

    label: StrPromise
    figures: PatternFigures | None
    complexity: StrPromise
    best_for: StrPromise


@dataclass(frozen=True, slots=True)
class PatternFigures:
    answers: str
    failures: str
    first_text: str
    complete: str
    tokens_per_s: str
    cost: str


@dataclass(frozen=True, slots=True)
class PatternsTable:
    """`rows_max`: how many of the newest answers are measured, at most."""

    days: int
    choices: tuple[int, ...]
    rows_max: int
    rows: list[PatternRow]


def patterns_table(request: HttpRequest) -> PatternsTable:
    """Read the table for the days that the request names, or for the default. One query."""
    requested = request.GET.get("days", "")
    days = next((choice for choice in DAYS if requested == str(choice)), DEFAULT_DAYS)
    measured = patterns.from_logs(days)
    return PatternsTable(days, DAYS, patterns.ROWS_MAX, [_row(*item) for item in measured.items()])


def _row(pattern: patterns.Pattern, measured: patterns.Measured | None) -> PatternRow:
    figures = None if measured is None else _figures(measured)
    return PatternRow(pattern.label, figures, pattern.complexity, pattern.best_for)


def _figures(measured: patterns.Measured) -> PatternFigures:
    return PatternFigures(
        answers=number(measured.answers),
        failures=number(measured.failures),
        first_text=_median_and_p95(measured.first_median_s, measured.first_p95_s),
        complete=_median_and_p95(measured.end_median_s, measured.end_p95_s),
        tokens_per_s=number(None if measured.tokens_per_s is None else f"{measured.tokens_per_s:.0f}"),
        cost=number(None if measured.cost_usd is None else f"${measured.cost_usd:.4f}"),
    )


def _median_and_p95(median_s: float | None, p95_s: float | None) -> str:
    return number(EMPTY_VALUE if median_s is None else f"{median_s:.1f} s / {p95_s:.1f} s")
