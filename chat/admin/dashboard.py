"""The dashboard on the front page: figures with the period before, charts, and the list behind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext_lazy as _

from chat.usage import rollup
from chat.usage.figures import DashboardFigures, PeriodFigures, read_figures

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

PERMISSION = "chat.view_conversation"
PERIODS = {"1": _("Today"), "7": _("7 days"), "30": _("30 days"), "90": _("90 days")}
DEFAULT_DAYS = "7"
# The hours that a page adds up itself; the cleanup, which runs each few minutes, does the rest.
SPANS_PER_PAGE = 1
CHART_WIDTH, CHART_HEIGHT = 600, 140
# Fewer bars are no wider than this.
BAR_MAX_WIDTH = 60

type Read = Callable[[PeriodFigures], float | None]


GENERATIONS, USERS, FEEDBACK = "generation", "user", "feedback"


@dataclass(frozen=True, slots=True)
class Behind:
    """The list whose rows a figure counts. `what`: which answers of the period."""

    table: str
    what: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, the change since the period before, and the list behind it.

    `is_better`: whether the change is for the better; None if it is neither.
    """

    name: StrPromise
    value: str
    change: str
    is_better: bool | None
    url: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart in its units, from the top left. `part_y`, `part_height`: of the part of it."""

    x: float
    y: float
    width: float
    height: float
    part_y: float
    part_height: float
    label: str
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars for days. `summary`: what it says, for those who do not see it."""

    name: StrPromise
    unit: StrPromise
    maximum: str
    bars: list[Bar]
    summary: str


# (name, value, how it is written, whether more is better, the list behind it)
FIGURES: list[tuple[StrPromise, Read, str, bool | None, Behind]] = [
    (_("Conversations"), lambda each: each.conversations, "count", None, Behind(GENERATIONS, "first")),
    (_("Answers"), lambda each: each.answers, "count", None, Behind(GENERATIONS)),
    (_("Active users"), lambda each: each.active_users, "count", None, Behind(USERS)),
    (_("Errors"), lambda each: each.error_rate, "rate", False, Behind(GENERATIONS, "failed")),
    (_("Recovered"), lambda each: each.recovery_rate, "rate", False, Behind(GENERATIONS, "recovered")),
    (_("Thumbs down"), lambda each: each.thumbs_down_rate, "rate", False, Behind(FEEDBACK)),
    (_("First text, median"), lambda each: each.first_text_p50_s, "seconds", False,
     Behind(GENERATIONS, "with_text")),
    (_("First text, 95 %"), lambda each: each.first_text_p95_s, "seconds", False,
     Behind(GENERATIONS, "with_text")),
    (_("Tokens"), lambda each: each.tokens, "count", None, Behind(GENERATIONS)),
    (_("Cost"), lambda each: float(each.cost_usd), "usd", None, Behind(GENERATIONS)),
]  # fmt: skip


def dashboard_of(request: HttpRequest) -> dict[str, Any] | None:
    """Return what the front page shows; None for users who may not see conversations."""
    if not request.user.has_perm(PERMISSION):
        return None
    days = request.GET.get("days", DEFAULT_DAYS)
    days = days if days in PERIODS else DEFAULT_DAYS
    model_name = request.GET.get("model", "")[:200]
    groups = {str(group.pk): group for group in Group.objects.order_by("name")}
    group = groups.get(request.GET.get("group", ""))
    is_complete = rollup.catch_up(spans_max=SPANS_PER_PAGE)
    found = read_figures(
        int(days),
        model_name=model_name,
        group_id=group.pk if group else None,
        groups=groups.values(),
    )
    lists = _Lists(request, found, model_name, str(group.pk) if group else "")
    return {
        "figures": [_figure(found, lists, *each) for each in FIGURES],
        "charts": _charts(found, lists),
        "models": [(name, *_row(each)) for name, each in found.models.items()],
        "groups": [(str(each), *_row(found.groups[each])) for each in found.groups],
        "periods": [(value, name, value == days) for value, name in PERIODS.items()],
        "days": days,
        "model": model_name,
        "group": group,
        "choices_of_group": list(groups.values()),
        "model_names": sorted({*found.models, *([model_name] if model_name else [])} - {""}),
        "is_complete": is_complete,
        "failed_today": 0 if model_name or group else list(found.days.values())[-1].failed,
    }


def _figure(
    found: DashboardFigures,
    lists: _Lists,
    name: StrPromise,
    read: Read,
    kind: str,
    is_more_better: bool | None,
    rows: Behind,
) -> Figure:
    now, before = read(found.total), read(found.before)
    change, is_better = "", None
    if now is not None and before:
        percent = round((now - before) / before * 100)
        change = f"{percent:+d} %" if percent else "± 0 %"
        if is_more_better is not None and percent:
            is_better = (percent > 0) == is_more_better
    return Figure(name, written(now, kind), change, is_better, lists.address(rows))


def written(value: float | None, kind: str) -> str:
    """Return a value with its unit."""
    if value is None:
        return "–"
    match kind:
        case "rate":
            return f"{value * 100:.1f} %"
        case "seconds":
            return f"{value:.1f} s"
        case "usd":
            return f"${number_format(value, 2, use_l10n=True, force_grouping=True)}"
    return number_format(value, 0, use_l10n=True, force_grouping=True)


def _row(each: PeriodFigures) -> tuple[str, ...]:
    return (
        written(each.answers, "count"),
        written(each.error_rate, "rate"),
        written(each.recovery_rate, "rate"),
        written(each.thumbs_down_rate, "rate"),
        written(each.first_text_p50_s, "seconds"),
        written(each.first_text_p95_s, "seconds"),
        written(each.tokens, "count"),
        written(float(each.cost_usd), "usd"),
    )


def _charts(found: DashboardFigures, lists: _Lists) -> list[Chart]:
    return [
        _chart(found, lists, _("Answers"), _("answers, failed ones below"), "count",
               lambda each: each.answers, lambda each: each.failed),
        _chart(found, lists, _("Cost"), _("USD"), "usd",
               lambda each: float(each.cost_usd), lambda _each: None),
        _chart(found, lists, _("Time to the first text"), _("95 %, the median below"), "seconds",
               lambda each: each.first_text_p95_s, lambda each: each.first_text_p50_s),
    ]  # fmt: skip


def _chart(
    found: DashboardFigures,
    lists: _Lists,
    name: StrPromise,
    unit: StrPromise,
    kind: str,
    read: Read,
    part: Read,
) -> Chart:
    values = [(day, read(each) or 0, part(each)) for day, each in found.days.items()]
    maximum = max(value for _day, value, _part in values)
    scale = CHART_HEIGHT / maximum if maximum else 0
    step = CHART_WIDTH / len(values)
    width = min(step * 0.8, BAR_MAX_WIDTH)
    bars = []
    for number, (day, value, part_value) in enumerate(values):
        label = date_format(day, "j M Y")
        height, part_height = round(value * scale, 1), round((part_value or 0) * scale, 1)
        text = written(value, kind)
        if part_value is not None:
            text += f" ({written(part_value, kind)})"
        bars.append(
            Bar(
                x=round(number * step + (step - width) / 2, 1),
                y=round(CHART_HEIGHT - height, 1),
                width=round(width, 1),
                height=height,
                part_y=round(CHART_HEIGHT - part_height, 1),
                part_height=part_height,
                label=label,
                text=text,
                url=lists.address(Behind(GENERATIONS), day),
            )
        )
    summary = "; ".join(f"{bar.label}: {bar.text}" for bar in bars)
    return Chart(name, unit, written(maximum, kind), bars, summary)


class _Lists:
    """Makes the addresses of the lists behind the figures."""

    def __init__(self, request: HttpRequest, found: DashboardFigures, model_name: str, group: str) -> None:
        self._user = request.user
        self._start, self._end = found.start, found.end - timedelta(days=1)
        self._narrowed = {"named": model_name, "group": group}

    def address(self, rows: Behind, day: datetime | None = None) -> str:
        """Return the list of the period, or of one day of it."""
        days = {"since": _day(day or self._start), "until": _day(day or self._end)}
        app = "auth" if rows.table == USERS else "chat"
        if not self._user.has_perm(f"{app}.view_{rows.table}"):
            # The nearest thing that everybody may see who sees the figures.
            return reverse("admin:chat_conversation_changelist", query=days)
        query = days | {"what": rows.what}
        if rows.table == USERS:
            query |= {"groups__id__exact": self._narrowed["group"]}
        else:
            query |= self._narrowed | ({"value__exact": "-1"} if rows.table == FEEDBACK else {})
        named = {name: value for name, value in query.items() if value}
        return reverse(f"admin:{app}_{rows.table}_changelist", query=named)


def _day(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d}"
