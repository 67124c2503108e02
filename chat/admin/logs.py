"""What the pages of this admin share: logs that are only read, and how times, numbers and states look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

NOTHING = "–"
MINUTE = timedelta(minutes=1)


class Styled:
    class Media:
        css = {"all": ["chat/admin.css"]}


class ReadOnly:
    """Rows that the program writes: people look, and change nothing."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LogAdmin(Styled, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    actions: Sequence[str] | None = None
    list_per_page = 50
    # Counting all rows of a big log, only to say how many a filter left out, takes seconds.
    show_full_result_count = False


def ago(moment: datetime | None, by: str = "") -> str:
    """Return how long ago that was, and whose doing, with the exact time on hover."""
    if moment is None:
        return NOTHING
    now = timezone.now()
    if now - moment < MINUTE:
        words = _("just now")
    else:
        words = _("%(time)s ago") % {"time": timesince(moment, now, depth=1)}
    if by:
        words = f"{by}, {words}"
    exact = date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, words)


def seconds(value: float | None) -> str:
    return number(None if value is None else f"{value:.1f} s")


def number(value: object) -> str:
    """Return a number that stands under its like, digit under digit."""
    return format_html('<span class="number">{}</span>', NOTHING if value is None else value)


def state(value: str, label: str) -> str:
    """Return a state in its colour; the word says it, too."""
    return format_html('<span class="state state-{}">{}</span>', value, label)


def pretty(value: object) -> str:
    return format_html('<pre class="json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))
