"""The period that a page of usage shows, from its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.usage.report import UsagePeriod

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

CHOICES: dict[str, StrPromise] = {
    "7": _("7 days"),
    "30": _("30 days"),
    "90": _("90 days"),
    "month": _("This month"),
    "last-month": _("Last month"),
}
DEFAULT = "30"
# A chart with more days cannot be read.
DAYS_MAX = 400


@dataclass(frozen=True, slots=True)
class ChosenPeriod:
    """A period; `name` is a key of CHOICES, or empty for two dates. `problem`: why they were not taken."""

    period: UsagePeriod
    name: str
    problem: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The period in an address."""
        if self.name:
            return {"period": self.name}
        return {"since": f"{self.period.first}", "until": f"{self.period.last}"}


def chosen_period(query: Mapping[str, str], today: date | None = None) -> ChosenPeriod:
    """Return the period that an address names by `period`, or by `since` and `until`; else the default."""
    today = today or timezone.localdate()
    since, until = query.get("since", ""), query.get("until", "")
    problem = ""
    if since or until:
        try:
            first = date.fromisoformat(since) if since else date.fromisoformat(until).replace(day=1)
            last = date.fromisoformat(until) if until else today
        except ValueError:
            problem = gettext("Enter dates such as 2026-01-31.")
        else:
            if first > last:
                problem = gettext("The first day is after the last one.")
            elif (last - first).days >= DAYS_MAX:
                problem = gettext("Choose a period of at most 400 days.")
            else:
                return ChosenPeriod(UsagePeriod(first, last), "")
    name = query.get("period", DEFAULT)
    name = name if name in CHOICES else DEFAULT
    return ChosenPeriod(_named(name, today), name, problem)


def _named(name: str, today: date) -> UsagePeriod:
    if name == "month":
        return UsagePeriod(today.replace(day=1), today)
    if name == "last-month":
        last = today.replace(day=1) - timedelta(days=1)
        return UsagePeriod(last.replace(day=1), last)
    return UsagePeriod(today - timedelta(days=int(name) - 1), today)
