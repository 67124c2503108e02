"""Execution patterns (sync, async, streaming, batch): descriptions and measurements.

The measurements are of answers: those of a benchmark, or those that the database stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING

from django.db.models import Case, CharField, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models.generation import Generation

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

# At most this many of the newest answers are measured.
ROWS_MAX = 20_000
# Client ids of concurrent requests of `manage.py patterns` start with this; other commands are sync.
ASYNC_COMMAND = "patterns-async-"


@dataclass(frozen=True, slots=True)
class Pattern:
    """An execution pattern, and texts that describe it."""

    name: str
    label: StrPromise
    complexity: StrPromise
    best_for: StrPromise


SYNC = Pattern("sync", _("sync"), _("low: one call after another"), _("scripts, the command line"))
ASYNC = Pattern("async", _("async"), _("medium: concurrent calls up to a limit"), _("internal APIs"))
STREAMING = Pattern("streaming", _("streaming"), _("medium: text as it is generated"), _("chats"))
BATCH = Pattern("batch", _("batch"), _("high: submit now, fetch later"), _("bulk work that can wait"))
ALL = (SYNC, ASYNC, STREAMING, BATCH)


@dataclass(frozen=True, slots=True)
class Sample:
    """The times of one answer as its client saw them, in seconds since the request.

    `first_s`: to the first text, which equals `end_s` for clients that receive the whole answer at once.
    `generating_s`: from the first delta to the end.
    """

    is_complete: bool
    first_s: float
    end_s: float
    generating_s: float | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one pattern. Times are those of complete answers. None: unknown."""

    answers: int
    failures: int
    first_median_s: float | None
    first_p95_s: float | None
    end_median_s: float | None
    end_p95_s: float | None
    # The median of the generation speeds of single answers.
    tokens_per_s: float | None
    # None if the price of any answer is unknown.
    cost_usd: Decimal | None


def measure(samples: Sequence[Sample]) -> Measured | None:
    """Return the measurements of `samples`, or None if there are none."""
    if not samples:
        return None
    complete = [sample for sample in samples if sample.is_complete]
    first = sorted(sample.first_s for sample in complete)
    end = sorted(sample.end_s for sample in complete)
    speeds = sorted(
        sample.output_tokens / sample.generating_s
        for sample in complete
        if sample.output_tokens and sample.generating_s
    )
    costs = [sample.cost_usd for sample in complete]
    known = [cost for cost in costs if cost is not None]
    return Measured(
        answers=len(samples),
        failures=len(samples) - len(complete),
        first_median_s=percentile(first, 50),
        first_p95_s=percentile(first, 95),
        end_median_s=percentile(end, 50),
        end_p95_s=percentile(end, 95),
        tokens_per_s=percentile(speeds, 50),
        cost_usd=sum(known, Decimal()) if known and len(known) == len(costs) else None,
    )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that at least `percent` percent do not exceed; None if there are none."""
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else None


def from_logs(days: int) -> dict[Pattern, Measured | None]:
    """Measure the final answers to requests of the last `days`. One query.

    It reads the newest ROWS_MAX rows by primary key, so the time does not grow with the table.
    """
    samples: dict[str, list[Sample]] = {pattern.name: [] for pattern in ALL}
    for name, sample in _samples(days):
        samples[name].append(sample)
    return {pattern: measure(samples[pattern.name]) for pattern in ALL}


def _samples(days: int) -> Iterable[tuple[str, Sample]]:
    newest = Generation.objects.order_by("-pk").values("pk")[:ROWS_MAX]
    final = Generation.objects.filter(
        pk__in=newest, created_at__gte=timezone.now() - timedelta(days=days), finished_at__isnull=False
    ).exclude(status=Generation.Status.STOPPED)  # its duration was decided by the user
    fields = ("status", "created_at", "first_delta_at", "finished_at", "output_tokens", "cost_usd")
    rows = _with_pattern(final).order_by().values_list("pattern", *fields)
    for pattern, status, created_at, first_delta_at, finished_at, tokens, cost in rows.iterator():
        end_s = (finished_at - created_at).total_seconds()
        is_streaming = pattern == STREAMING.name and first_delta_at
        yield (
            pattern,
            Sample(
                is_complete=status == Generation.Status.COMPLETED,
                first_s=(first_delta_at - created_at).total_seconds() if is_streaming else end_s,
                end_s=end_s,
                generating_s=(finished_at - first_delta_at).total_seconds() if first_delta_at else None,
                output_tokens=tokens,
                cost_usd=cost,
            ),
        )


def _with_pattern(generations: QuerySet[Generation]) -> QuerySet[Generation]:
    """Annotate each generation with the name of its pattern. What only makes titles has none."""
    source = Generation.Source
    return generations.exclude(source=source.TITLE).annotate(
        pattern=Case(
            When(source=source.BATCH, then=Value(BATCH.name)),
            When(source=source.COMMAND, client_id__startswith=ASYNC_COMMAND, then=Value(ASYNC.name)),
            When(source=source.COMMAND, then=Value(SYNC.name)),
            When(source=source.API, then=Value(ASYNC.name)),
            default=Value(STREAMING.name),
            output_field=CharField(),
        )
    )
