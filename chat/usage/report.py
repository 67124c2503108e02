"""What was used in a period: the total, by day, and by user, group, model, key or source.

Read from the hourly rows, so that it takes as long for a million answers as for a thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from chat.models import HourlyUsage

SUMMED = (
    *("answers", "calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"),
    *("estimated_tokens", "cost_usd", "unpriced_calls"),
)
# How usage is divided: the columns of the key and of its name.
DIMENSIONS: Mapping[str, tuple[str, str]] = {
    "user": ("user_id", "user__username"),
    "group": ("user__groups__id", "user__groups__name"),
    "model": ("model_name", "model_name"),
    "key": ("api_key_id", "api_key__name"),
    "source": ("source", "source"),
}


@dataclass(slots=True)
class UsageSums:
    """Sums of some hours. `estimated_tokens`: how many of the tokens are an estimate."""

    answers: int = 0
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced_calls: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + (row[name] or 0))

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def is_estimated(self) -> bool:
        return self.estimated_tokens > 0


@dataclass(frozen=True, slots=True)
class UsagePart:
    """One user, group, model, key or source; `key` None: none of them, or a deleted one."""

    key: int | str | None
    name: str
    sums: UsageSums


@dataclass(frozen=True, slots=True)
class UsagePeriod:
    """Whole days in the site's time zone; `last` is a part of it."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    @property
    def start(self) -> datetime:
        return timezone.make_aware(datetime.combine(self.first, time.min))

    @property
    def end(self) -> datetime:
        return timezone.make_aware(datetime.combine(self.last + timedelta(days=1), time.min))


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What was used in a period, in all and by day; `rows`: the hourly rows that it adds up."""

    period: UsagePeriod
    rows: QuerySet[HourlyUsage]
    total: UsageSums
    days: dict[date, UsageSums]

    def by(self, dimension: str, limit: int | None = None) -> list[UsagePart]:
        """Return the parts, the dearest first, then those with most tokens. One query.

        A user of several groups is counted in each.
        """
        key, name = DIMENSIONS[dimension]
        sums = {f"sum_{each}": Sum(each) for each in SUMMED}
        found: Any = self.rows.order_by().values(part=F(key), part_name=F(name)).annotate(**sums)
        parts = []
        for row in found.order_by("-sum_cost_usd", "-sum_output_tokens", "part_name")[:limit]:
            part = UsagePart(row["part"], row["part_name"] or "", UsageSums())
            part.sums.add({each: row[f"sum_{each}"] for each in SUMMED})
            parts.append(part)
        return parts

    def table(self, *columns: str) -> Iterator[tuple[date, tuple[Any, ...], UsageSums]]:
        """Yield the sums by day and by these columns of the hourly rows, in order."""
        found = self.rows.order_by("hour", *columns).values_list("hour", *columns, *SUMMED)
        day, sums = None, dict[tuple[Any, ...], UsageSums]()
        for hour, *values in found.iterator():
            today = timezone.localdate(hour)
            if day is not None and today != day:
                yield from ((day, key, each) for key, each in sums.items())
                sums = {}
            day = today
            key = tuple(values[: len(columns)])
            row = dict(zip(SUMMED, values[len(columns) :], strict=True))
            sums.setdefault(key, UsageSums()).add(row)
        if day is not None:
            yield from ((day, key, each) for key, each in sums.items())


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Whose usage, of what. None: all."""

    user_id: int | None = None
    group_id: int | None = None
    model_name: str | None = None
    api_key_id: int | None = None
    source: str | None = None
    # Values by the names above, for addresses.
    query: Mapping[str, str] = field(default_factory=dict)

    def apply(self, rows: QuerySet[HourlyUsage]) -> QuerySet[HourlyUsage]:
        values = {
            "user_id": self.user_id,
            "model_name": self.model_name,
            "api_key_id": self.api_key_id,
            "source": self.source,
        }
        rows = rows.filter(**{name: value for name, value in values.items() if value is not None})
        if self.group_id is not None:
            # Not a join: each row once.
            members = get_user_model().groups.through.objects.filter(group_id=self.group_id)
            rows = rows.filter(user_id__in=members.values("user_id"))
        return rows


def read_usage(period: UsagePeriod, narrowed: UsageFilter) -> UsageReport:
    """Return what was used. Two queries; `by` makes one more."""
    in_period = HourlyUsage.objects.filter(hour__gte=period.start, hour__lt=period.end)
    rows = narrowed.apply(in_period)
    total, days = UsageSums(), {day: UsageSums() for day in period.days}
    sums = {f"sum_{each}": Sum(each) for each in SUMMED}
    by_hour: Any = rows.order_by().values("hour").annotate(**sums)
    for row in by_hour:
        values = {each: row[f"sum_{each}"] for each in SUMMED}
        total.add(values)
        days[timezone.localdate(row["hour"])].add(values)
    return UsageReport(period, rows, total, days)
