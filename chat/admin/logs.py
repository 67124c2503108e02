"""Base classes of the admin's pages: the style sheet, and logs, which are read-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class Styled:
    class Media:
        css = {"all": ["chat/admin.css"]}


class ReadOnly:
    """Pages of rows that only the program writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LogAdmin(Styled, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    actions: Sequence[str] | None = None
    list_per_page = 50
    # Counting all rows of a large log, only to show how many a filter excluded, takes seconds.
    show_full_result_count = False
