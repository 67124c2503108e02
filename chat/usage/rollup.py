"""Add up the answers of each hour for the dashboard.

An hour is added up again for as long as it lasts, and once after. What is added up is what ended in it; a
thumb is counted in the hour in which it was given.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from chat.models import ActiveDay, Feedback, Generation, HourlyFigures
from chat.models.conversation_summary import SAME_TRANSACTION
from chat.models.hourly_figures import LIMITS_S

HOUR = timedelta(hours=1)
# What a call adds up: an hour, or more if there was little in them.
SPAN = timedelta(hours=24)

# Of PostgreSQL; any number that nothing else uses.
LOCK_ID = 72_736_101

type FigureKey = tuple[datetime, str, int | None]


def catch_up(now: datetime | None = None, *, spans_max: int = 10_000) -> bool:
    """Add up all hours since the last one that is stored. Return whether that is all up to `now`.

    `spans_max`: how many spans of 24 hours to add up at most.
    """
    return in_spans(_start(), _roll_up, now or timezone.now(), spans_max)


def in_spans(
    start: datetime | None, roll_up: Callable[[datetime, datetime], None], now: datetime, spans_max: int
) -> bool:
    """Call `roll_up` for spans from the hour `start` to that of `now`. Return whether that is all.

    `start` None: there is nothing to add up.
    """
    while start is not None and start <= now and spans_max > 0:
        end = min(start + SPAN, hour_of(now) + HOUR)
        roll_up(start, end)
        spans_max -= 1
        start = end if end <= now else None
    return start is None or start > now


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _start() -> datetime | None:
    """Return the hour to begin with: the last one that is stored, or the first with an answer."""
    last = HourlyFigures.objects.order_by("-hour").values_list("hour", flat=True).first()
    if last is not None:
        return hour_of(last)
    ended = Generation.objects.filter(finished_at__isnull=False).order_by("finished_at")
    first = ended.values_list("finished_at", flat=True).first()
    return None if first is None else hour_of(first)


def _roll_up(start: datetime, end: datetime) -> None:
    groups = _groups_of_users()
    rows: dict[FigureKey, HourlyFigures] = {}
    active: set[tuple[date, int]] = set()
    columns = (
        *("finished_at", "model_name", "user_id", "status", "recoveries", "created_at", "first_delta_at"),
        *("input_tokens", "output_tokens", "cost_usd", "message__conversation__created_at"),
    )
    ended = Generation.objects.filter(finished_at__gte=start, finished_at__lt=end)
    for values in ended.order_by().values_list(*columns).iterator():
        finished_at, model_name, user_id = values[:3]
        active.add((finished_at.astimezone(UTC).date(), user_id))
        for group_id in (None, *groups.get(user_id, ())):
            _add_answer(_row(rows, hour_of(finished_at), model_name, group_id), *values[3:])
    given = Feedback.objects.filter(updated_at__gte=start, updated_at__lt=end).order_by()
    runs = Generation.objects.filter(message=OuterRef("message")).order_by("-pk").values("model_name")
    thumbs = given.annotate(model_name=Subquery(runs[:1]))
    for moment, user_id, value, name in thumbs.values_list("updated_at", "user_id", "value", "model_name"):
        for group_id in (None, *groups.get(user_id, ())):
            row = _row(rows, hour_of(moment), name or "", group_id)
            row.thumbs_up += value > 0
            row.thumbs_down += value < 0
    with transaction.atomic():
        lock()
        HourlyFigures.objects.filter(hour__gte=start, hour__lt=end).delete()
        HourlyFigures.objects.bulk_create(rows.values(), batch_size=1_000)
        ActiveDay.objects.bulk_create(
            (ActiveDay(day=day, user_id=user_id) for day, user_id in active),
            ignore_conflicts=True,
            batch_size=1_000,
        )


def lock() -> None:
    """Keep other processes from adding up at the same time. On SQLite a transaction does so by itself."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])


def _row(
    rows: dict[FigureKey, HourlyFigures], hour: datetime, model_name: str, group_id: int | None
) -> HourlyFigures:
    key = (hour, model_name, group_id)
    if key not in rows:
        counts = [0] * (len(LIMITS_S) + 1)
        rows[key] = HourlyFigures(
            hour=hour, model_name=model_name, group_id=group_id, first_text=counts, cost_usd=Decimal(0)
        )
    return rows[key]


def _add_answer(
    row: HourlyFigures,
    status: str,
    recoveries: int,
    created_at: datetime,
    first_delta_at: datetime | None,
    input_tokens: int | None,
    output_tokens: int | None,
    cost_usd: Decimal | None,
    began_at: datetime,
) -> None:
    row.answers += 1
    row.conversations += created_at - began_at < SAME_TRANSACTION
    row.failed += status in {Generation.Status.FAILED, Generation.Status.INTERRUPTED}
    row.recovered += recoveries > 0
    row.input_tokens += input_tokens or 0
    row.output_tokens += output_tokens or 0
    row.cost_usd += cost_usd or 0
    if first_delta_at is not None:
        row.first_text[bisect_left(LIMITS_S, (first_delta_at - created_at).total_seconds())] += 1


def percentile(counts: list[int], fraction: float) -> float | None:
    """Return the seconds within which `fraction` of the first texts came, right to 10 %; None without any."""
    wanted = fraction * sum(counts)
    if not wanted:
        return None
    seen = 0
    for count, limit_s in zip(counts, [*LIMITS_S, LIMITS_S[-1]], strict=True):
        seen += count
        if seen >= wanted:
            return limit_s
    return LIMITS_S[-1]


def _groups_of_users() -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    members = get_user_model().groups.through.objects.values_list("user_id", "group_id")
    for user_id, group_id in members:
        found[user_id].append(group_id)
    return found
