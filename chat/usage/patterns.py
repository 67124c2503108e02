"""The ways to run calls to a model side by side: what each is best for, and how it did.

What is measured comes from answers, by a command's own clock or from the log's rows; the rest is text.
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

# How many of the newest answers a table from the log looks at, however many there are.
ROWS_MAX = 20_000
# How the answers that `manage.py patterns` asks for at once are told from those of other commands.
ASYNC_COMMAND = "patterns-async-"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way to run calls, in words."""

    name: str
    label: StrPromise
    complexity: StrPromise
    best_for: StrPromise


SYNC = Pattern("sync", _("sync"), _("low: one call after the other"), _("scripts, the command line"))
ASYNC = Pattern("async", _("async"), _("medium: many calls, a limit"), _("internal APIs, programs"))
STREAMING = Pattern("streaming", _("streaming"), _("medium: text while it comes"), _("people, chats"))
BATCH = Pattern("batch", _("batch"), _("high: ask now, fetch later"), _("bulk that can wait"))
ALL = (SYNC, ASYNC, STREAMING, BATCH)


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer as its reader had it, in seconds since it was asked.

    `first_s`: until the first text; a reader who takes the answer whole has it with the last.
    `written_s`: from its first delta to its last.
    """

    is_complete: bool
    first_s: float
    end_s: float
    written_s: float | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the answers of one pattern say; times are of the complete ones. None: not known."""

    answers: int
    failures: int
    first_median_s: float | None
    first_p95_s: float | None
    end_median_s: float | None
    end_p95_s: float | None
    # Of one answer while it is written; the median.
    tokens_per_s: float | None
    # None if the price of any of them is not known.
    cost_usd: Decimal | None


def measure(samples: Sequence[Sample]) -> Measured | None:
    """Sum `samples` up; None if there are none."""
    if not samples:
        return None
    complete = [sample for sample in samples if sample.is_complete]
    first = sorted(sample.first_s for sample in complete)
    end = sorted(sample.end_s for sample in complete)
    speeds = sorted(
        sample.output_tokens / sample.written_s
        for sample in complete
        if sample.output_tokens and sample.written_s
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
    """Return the smallest of `ordered` that `percent` of a hundred do not exceed; None of nothing."""
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else None


def from_logs(days: int) -> dict[Pattern, Measured | None]:
    """Measure the answers that were asked for in the last `days` and are final: one query.

    It reads the newest ROWS_MAX rows by their key, so that it takes the same time in a large log.
    """
    samples: dict[str, list[Sample]] = {pattern.name: [] for pattern in ALL}
    for name, sample in _logged(days):
        samples[name].append(sample)
    return {pattern: measure(samples[pattern.name]) for pattern in ALL}


def _logged(days: int) -> Iterable[tuple[str, Sample]]:
    newest = Generation.objects.order_by("-pk").values("pk")[:ROWS_MAX]
    final = Generation.objects.filter(
        pk__in=newest, created_at__gte=timezone.now() - timedelta(days=days), finished_at__isnull=False
    ).exclude(status=Generation.Status.STOPPED)  # its time says when somebody had read enough
    fields = ("status", "created_at", "first_delta_at", "finished_at", "output_tokens", "cost_usd")
    rows = _by_pattern(final).order_by().values_list("pattern", *fields)
    for pattern, status, created_at, first_delta_at, finished_at, tokens, cost in rows.iterator():
        end_s = (finished_at - created_at).total_seconds()
        is_streaming = pattern == STREAMING.name and first_delta_at
        yield (
            pattern,
            Sample(
                is_complete=status == Generation.Status.COMPLETED,
                first_s=(first_delta_at - created_at).total_seconds() if is_streaming else end_s,
                end_s=end_s,
                written_s=(finished_at - first_delta_at).total_seconds() if first_delta_at else None,
                output_tokens=tokens,
                cost_usd=cost,
            ),
        )


def _by_pattern(found: QuerySet[Generation]) -> QuerySet[Generation]:
    """Say of each by which pattern it was asked for."""
    source = Generation.Source
    return found.annotate(
        pattern=Case(
            When(source=source.BATCH, then=Value(BATCH.name)),
            When(source=source.COMMAND, client_id__startswith=ASYNC_COMMAND, then=Value(ASYNC.name)),
            When(source=source.COMMAND, then=Value(SYNC.name)),
            When(source=source.API, then=Value(ASYNC.name)),
            default=Value(STREAMING.name),
            output_field=CharField(),
        )
    )
