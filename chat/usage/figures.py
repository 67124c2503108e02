"""The figures of the dashboard: of a period and of the one before it, by day, by model and by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Count, Q
from django.utils import timezone

from chat.models import HourlyFigures
from chat.models.hourly_figures import LIMITS_S
from chat.usage import behind
from chat.usage.rollup import percentile

SUMS = (
    *("answers", "conversations", "failed", "recovered", "thumbs_up", "thumbs_down"),
    *("input_tokens", "output_tokens", "cost_usd"),
)


@dataclass(slots=True)
class PeriodFigures:
    """Sums over some hours. Rates are 0 to 1, or None if there is nothing to divide by."""

    answers: int = 0
    conversations: int = 0
    failed: int = 0
    recovered: int = 0
    thumbs_up: int = 0
    thumbs_down: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    active_users: int = 0
    first_text: list[int] = field(default_factory=lambda: [0] * (len(LIMITS_S) + 1))

    def add(self, row: dict[str, Any]) -> None:
        for name in SUMS:
            setattr(self, name, getattr(self, name) + row[name])
        for at, count in enumerate(row["first_text"]):
            if count:
                self.first_text[at] += count

    @property
    def error_rate(self) -> float | None:
        return self.failed / self.answers if self.answers else None

    @property
    def recovery_rate(self) -> float | None:
        return self.recovered / self.answers if self.answers else None

    @property
    def thumbs_down_rate(self) -> float | None:
        thumbs = self.thumbs_up + self.thumbs_down
        return self.thumbs_down / thumbs if thumbs else None

    @property
    def first_text_p50_s(self) -> float | None:
        return percentile(self.first_text, 0.5)

    @property
    def first_text_p95_s(self) -> float | None:
        return percentile(self.first_text, 0.95)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class DashboardFigures:
    """`days`: one for each day of the period, also without answers, in the site's time zone."""

    start: datetime
    end: datetime
    total: PeriodFigures
    before: PeriodFigures
    days: dict[datetime, PeriodFigures]
    models: dict[str, PeriodFigures]
    groups: dict[Group, PeriodFigures]


def read_figures(
    days: int,
    *,
    model_name: str = "",
    group_id: int | None = None,
    now: datetime | None = None,
    groups: Iterable[Group] | None = None,
) -> DashboardFigures:
    """Return the figures of the last `days` days, today included. `groups`: all, if they are known."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [midnight - timedelta(days=days - 1 - number) for number in range(days)]
    start, end = starts[0], midnight + timedelta(days=1)
    before_start = start - timedelta(days=days)
    rows = HourlyFigures.objects.filter(hour__gte=before_start, hour__lt=end)
    if model_name:
        rows = rows.filter(model_name=model_name)
    found = DashboardFigures(
        start, end, PeriodFigures(), PeriodFigures(), {each: PeriodFigures() for each in starts}, {}, {}
    )
    by_model: dict[str, PeriodFigures] = defaultdict(PeriodFigures)
    for row in rows.filter(group=group_id).values("hour", "model_name", "first_text", *SUMS):
        if row["hour"] < start:
            found.before.add(row)
            continue
        found.total.add(row)
        by_model[row["model_name"]].add(row)
        found.days[timezone.localtime(row["hour"]).replace(hour=0)].add(row)
    found.models.update(sorted(by_model.items(), key=lambda item: -item[1].answers))
    all_groups = Group.objects.order_by("name") if groups is None else groups
    found.groups.update(_by_group(rows.filter(hour__gte=start), all_groups))
    found.total.active_users, found.before.active_users = _active(before_start, start, end, group_id)
    return found


def _by_group(rows: Any, all_groups: Iterable[Group]) -> dict[Group, PeriodFigures]:
    groups = {group.pk: group for group in all_groups}
    found = {group: PeriodFigures() for group in groups.values()} if groups else {}
    for row in rows.filter(group__isnull=False).values("group_id", "first_text", *SUMS) if groups else ():
        found[groups[row["group_id"]]].add(row)
    return found


def _active(before_start: datetime, start: datetime, end: datetime, group_id: int | None) -> tuple[int, int]:
    """Return how many users were active in the period, and in the one before it."""
    rows = behind.active_users(before_start, end)
    if group_id is not None:
        rows = rows.filter(user__groups=group_id)
    periods = {"now": behind.utc_days(start, end), "before": behind.utc_days(before_start, start)}
    counts = rows.order_by().aggregate(
        **{name: Count("user", distinct=True, filter=Q(day__range=days)) for name, days in periods.items()}
    )
    return counts["now"], counts["before"]
