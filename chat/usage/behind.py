"""The rows behind a figure of the dashboard: the conditions by which `rollup` adds them up."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from chat.models import ActiveDay, Feedback, Generation
from chat.models.conversation_summary import SAME_TRANSACTION
from chat.usage.rollup import HOUR, hour_of

# Of answers that ended in a period, by the name of the figure.
ANSWERS = {
    "first": Q(created_at__lt=F("message__conversation__created_at") + SAME_TRANSACTION),
    "failed": Q(status__in=[Generation.Status.FAILED, Generation.Status.INTERRUPTED]),
    "recovered": Q(recoveries__gt=0),
    "with_text": Q(first_delta_at__isnull=False),
}


def first_hour(moment: datetime) -> datetime:
    """Return the hour from which a period counts that begins at `moment`. Figures are kept by whole hours."""
    hour = hour_of(moment)
    return hour if hour == moment else hour + HOUR


def model_of_feedback(rows: QuerySet[Feedback]) -> QuerySet[Feedback]:
    """Add `model_name`: the model of the answer's last run, for which a thumb counts."""
    runs = Generation.objects.filter(message=OuterRef("message")).order_by("-pk")
    return rows.annotate(model_name=Subquery(runs.values("model_name")[:1]))


def utc_days(start: datetime, end: datetime) -> tuple[date, date]:
    """Return the first and last day, in UTC, of the time from `start` until before `end`."""
    return start.astimezone(UTC).date(), (end - timedelta(seconds=1)).astimezone(UTC).date()


def active_users(start: datetime, end: datetime) -> QuerySet[ActiveDay]:
    """Return the days on which users got an answer."""
    first, last = utc_days(start, end)
    return ActiveDay.objects.filter(day__gte=first, day__lte=last)
