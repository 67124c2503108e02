"""The patterns page: execution patterns, measured from the log of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest

from chat.admin.formatting import NOTHING, number
from chat.usage import patterns

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

DAYS = (1, 7, 30)
DEFAULT_DAYS = 7


@dataclass(frozen=True, slots=True)
class Figures:
    answers: str
    failures: str
    first_text: str
    total_time: str
    tokens_per_s: str
    cost: str


@dataclass(frozen=True, slots=True)
class PatternRow:
    """A pattern. `figures` is None if there are no answers."""

    label: StrPromise
    figures: Figures | None
    complexity: StrPromise
    best_for: StrPromise


@dataclass(frozen=True, slots=True)
class PatternTable:
    """`answers_max`: the maximum number of answers that were read, newest first."""

    days: int
    choices: tuple[int, ...]
    answers_max: int
    rows: list[PatternRow]


def pattern_table(request: HttpRequest) -> PatternTable:
    """Measure the patterns over the days that the request names, or the default. One query."""
    text = request.GET.get("days", "")
    days = next((choice for choice in DAYS if text == str(choice)), DEFAULT_DAYS)
    measured = patterns.from_logs(days)
    return PatternTable(days, DAYS, patterns.ROWS_MAX, [_row(*each) for each in measured.items()])


def _row(pattern: patterns.Pattern, measured: patterns.Measured | None) -> PatternRow:
    figures = None if measured is None else _figures(measured)
    return PatternRow(pattern.label, figures, pattern.complexity, pattern.best_for)


def _figures(measured: patterns.Measured) -> Figures:
    return Figures(
        answers=number(measured.answers),
        failures=number(measured.failures),
        first_text=_times(measured.first_median_s, measured.first_p95_s),
        total_time=_times(measured.end_median_s, measured.end_p95_s),
        tokens_per_s=number(None if measured.tokens_per_s is None else f"{measured.tokens_per_s:.0f}"),
        cost=number(None if measured.cost_usd is None else f"${measured.cost_usd:.4f}"),
    )


def _times(median_s: float | None, p95_s: float | None) -> str:
    return number(NOTHING if median_s is None else f"{median_s:.1f} s / {p95_s:.1f} s")
