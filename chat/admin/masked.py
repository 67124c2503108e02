"""Masked texts on pages of the admin, whose columns do not know who looks at them: the rows do."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet, Value
from django.http import HttpRequest

from chat.review.masking import is_masking, mask, mask_for, mask_json


def with_masking(queryset: QuerySet[Any], request: HttpRequest) -> Any:
    """Return the rows with `is_masked`: whether the user sees them masked."""
    return queryset.annotate(is_masked=Value(is_masking(mask_for(request.user))))


def shown_text(row: Any, text: str) -> str:
    """Return a text of a row as the user may see it. A row that does not know is masked."""
    return mask(text) if getattr(row, "is_masked", True) else text


def shown_json(row: Any, value: Any) -> Any:
    """Return a JSON value of a row as the user may see it."""
    return mask_json(mask, value) if getattr(row, "is_masked", True) else value
