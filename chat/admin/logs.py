"""Shared parts of the admin: read-only logs, and how times, numbers and states are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

EMPTY_VALUE = "–"
MINUTE = timedelta(minutes=1)
# More rows are not counted, and no page is further down.
COUNT_MAX = 10_000


class StyledAdmin:
    """Adds the style sheet of Chatsite to an admin page."""

    class Media:
        css = {"all": ["chat/admin.css"]}


class ReadOnlyAdmin:
    """Denies all changes: only the program writes these rows."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts up to COUNT_MAX rows."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        rows: int = self.object_list.order_by()[: COUNT_MAX + 1].count()
        return min(rows, COUNT_MAX)


class LogAdmin(StyledAdmin, ReadOnlyAdmin, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    actions: Sequence[str] | None = None
    list_per_page = 50
    # Counting all rows of a large log takes seconds, and only the hint beside a filter needs it.
    show_full_result_count = False
    list_max_show_all = 0
    paginator = CappedPaginator


def ago(moment: datetime | None, by: str = "") -> str:
    """Return how long ago `moment` was, with the exact time on hover. `by`: the user who acted."""
    if moment is None:
        return EMPTY_VALUE
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
    """Return a number in digits of equal width, aligned with those above and below it."""
    return format_html('<span class="number">{}</span>', EMPTY_VALUE if value is None else value)


def state(value: str, label: str) -> str:
    """Return the label of a state with a coloured dot."""
    return format_html('<span class="state state-{}">{}</span>', value, label)


def pretty(value: object) -> str:
    """Return a JSON value, indented."""
    return format_html('<pre class="json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))
