"""Menus that search while one types, for forms that are sent with any values."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import ForeignKey
from django.http import HttpRequest

KEY_DIGITS_MAX = 18


class KeySelect(AutocompleteSelect):
    """Django's menu, which looks for the chosen rows in the database and fails for a value that is no key."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [each for each in value if _is_possible(each)], attr)


def _is_possible(value: str | None) -> bool:
    text = value or ""
    return text.isascii() and (text.isdigit() or not text) and len(text) <= KEY_DIGITS_MAX


class AutocompleteAdmin:
    """Uses KeySelect for the fields in `autocomplete_fields`, whose keys are numbers."""

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        admin: Any = self
        parent: Any = super()
        if db_field.name in admin.get_autocomplete_fields(request):
            kwargs["widget"] = KeySelect(db_field, admin.admin_site, using=kwargs.get("using"))
        return parent.formfield_for_foreignkey(db_field, request, **kwargs)
