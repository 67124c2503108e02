"""Add up the calls of each hour by user, key, model and source, as `rollup` does for the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from chat.models import Attempt, EmbeddingCall, Generation, HourlyUsage
from chat.usage.rollup import hour_of, in_spans, lock

type UsageKey = tuple[datetime, int, int | None, str, str]
_CALL = (
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "is_usage_estimated",
    "cost_usd",
)


def catch_up(now: datetime | None = None, *, spans_max: int = 10_000) -> bool:
    """Add up all hours since the last one that is stored. Return whether that is all up to `now`.

    `spans_max`: how many spans of 24 hours to add up at most.
    """
    return in_spans(_start(), _roll_up, now or timezone.now(), spans_max)


def _start() -> datetime | None:
    """Return the hour to begin with: the last one that is stored, or the first with an answer or a call."""
    last = HourlyUsage.objects.order_by("-hour").values_list("hour", flat=True).first()
    if last is not None:
        return hour_of(last)
    ended = Generation.objects.filter(finished_at__isnull=False).order_by("finished_at")
    embedded = EmbeddingCall.objects.order_by("created_at").values_list("created_at", flat=True)
    firsts = [ended.values_list("finished_at", flat=True).first(), embedded.first()]
    return min((hour_of(first) for first in firsts if first is not None), default=None)


def _roll_up(start: datetime, end: datetime) -> None:
    rows = usage_of_hours(start, end)
    with transaction.atomic():
        lock()
        HourlyUsage.objects.filter(hour__gte=start, hour__lt=end).delete()
        HourlyUsage.objects.bulk_create(rows, batch_size=1_000)


def usage_of_hours(start: datetime, end: datetime) -> list[HourlyUsage]:
    """Return the rows of the hours from `start` until before `end`; not stored."""
    rows: dict[UsageKey, HourlyUsage] = {}
    ended = Generation.objects.filter(finished_at__gte=start, finished_at__lt=end).order_by()
    columns: tuple[str, ...] = ("finished_at", "user_id", "api_key_id", "model_name", "source")
    for key in ended.values_list(*columns).iterator():
        _row(rows, *key).answers += 1
    calls = Attempt.objects.filter(generation__finished_at__gte=start, generation__finished_at__lt=end)
    columns = (
        *("generation__finished_at", "generation__user_id", "generation__api_key_id", "model_name"),
        *("generation__source", *_CALL),
    )
    for values in calls.order_by().values_list(*columns).iterator():
        _add_call(_row(rows, *values[:5]), *values[5:])
    embedded = EmbeddingCall.objects.filter(created_at__gte=start, created_at__lt=end).order_by()
    for call in embedded.iterator():
        row = _row(
            rows, call.created_at, call.user_id, call.api_key_id, call.model_name, HourlyUsage.EMBEDDINGS
        )
        _add_call(row, call.input_tokens, None, None, None, False, call.cost_usd)
    return list(rows.values())


def _row(
    rows: dict[UsageKey, HourlyUsage],
    moment: datetime,
    user_id: int,
    api_key_id: int | None,
    model_name: str,
    source: str,
) -> HourlyUsage:
    hour = hour_of(moment)
    key = (hour, user_id, api_key_id, model_name, source)
    if key not in rows:
        rows[key] = HourlyUsage(
            hour=hour, user_id=user_id, api_key_id=api_key_id, model_name=model_name, source=source
        )
    return rows[key]


def _add_call(
    row: HourlyUsage,
    inputs: int | None,
    cached: int | None,
    outputs: int | None,
    reasoning: int | None,
    is_estimated: bool,
    cost: Any,
) -> None:
    tokens = (inputs or 0) + (outputs or 0)
    row.calls += 1
    row.input_tokens += inputs or 0
    row.cached_tokens += cached or 0
    row.output_tokens += outputs or 0
    row.reasoning_tokens += reasoning or 0
    row.estimated_tokens += tokens if is_estimated else 0
    row.cost_usd += cost or 0
    row.unpriced_calls += bool(tokens) and cost is None
