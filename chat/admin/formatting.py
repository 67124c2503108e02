"""How the admin shows times, numbers, states and JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

NOTHING = "–"
MINUTE = timedelta(minutes=1)


def ago(moment: datetime | None, by: str = "") -> str:
    """Return how long ago `moment` was, after the name of the user if any, with the time as a tooltip."""
    if moment is None:
        return NOTHING
    now = timezone.now()
    if now - moment < MINUTE:
        text = _("just now")
    else:
        text = _("%(time)s ago") % {"time": timesince(moment, now, depth=1)}
    if by:
        text = f"{by}, {text}"
    exact = date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, text)


def seconds(value: float | None) -> str:
    return number(None if value is None else f"{value:.1f} s")


def number(value: object) -> str:
    """Return a number, aligned in its column."""
    return format_html('<span class="number">{}</span>', NOTHING if value is None else value)


def state(value: str, label: str) -> str:
    """Return the label of a state in the colour of the state."""
    return format_html('<span class="state state-{}">{}</span>', value, label)


def pretty(value: object) -> str:
    """Return indented JSON."""
    return format_html('<pre class="json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))
