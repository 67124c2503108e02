"""The filters of a search in the sidebar: `in:work`, `tag:tax`, `model:gpt`, `from:me`, `is:archived`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from django.contrib.auth.models import AbstractUser
from django.db.models import Q
from django.utils import timezone

from chat import search
from chat.models import Message
from chat.models.conversation import ConversationQuerySet

_FILTER = re.compile(r'(?<!\S)(in|project|tag|model|from|is|before|after):(?:"([^"]*)"|(\S+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A query without its filters, and these. What is no valid filter is searched for as text."""

    words: str
    filters: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def parse(cls, query: str) -> ListQuery:
        filters: list[tuple[str, str]] = []

        def take(found: re.Match[str]) -> str:
            name = found[1].lower()
            value = (found[2] if found[2] is not None else found[3]).lower()
            is_valid = bool(value) and (name not in _CHECKS or _CHECKS[name](value))
            if not is_valid:
                return found[0]
            filters.append(("in" if name == "project" else name, value))
            return ""

        return cls(_FILTER.sub(take, query).strip(), filters)

    @property
    def is_empty(self) -> bool:
        return not self.words and not self.filters

    def apply(self, found: ConversationQuerySet) -> ConversationQuerySet:
        """Return the conversations that every filter lets through.

        Archived ones are found by words, and by `is:archived`; otherwise they are off the list.
        """
        if self.is_empty or (not self.words and ("is", "archived") not in self.filters):
            found = found.filter(archived_at=None)
        for name, value in self.filters:
            found = found.filter(_condition(name, value))
        return found

    def find(self, user: AbstractUser) -> search.Hits:
        """Return what the words find in the user's conversations; with `from:me`, in the user's messages."""
        role = Message.Role.USER if ("from", "me") in self.filters else ""
        return search.find(self.words, user_id=user.pk, with_hidden=False, role=role)


def _condition(name: str, value: str) -> Q:
    match name:
        case "in":
            return Q(project__name__icontains=value)
        case "tag":
            return Q(tags__name=value)
        case "from":
            return Q()  # a matter of messages, see `find`
        case "model":
            return Q(model__name__icontains=value) | Q(model__label__icontains=value)
        case "is":
            return Q(pinned_at__isnull=False) if value == "pinned" else Q(archived_at__isnull=False)
        case "before":
            return Q(updated_at__lt=_start_of(_day(value)))
        case _:
            return Q(updated_at__gte=_start_of(_day(value)))


def _day(value: str) -> date:
    today = timezone.localdate()
    named = {"today": today, "yesterday": today - timedelta(days=1)}
    return named.get(value) or date.fromisoformat(value)


def _is_day(value: str) -> bool:
    try:
        return _day(value).year > 1
    except ValueError:
        return False


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


_CHECKS: dict[str, Callable[[str], bool]] = {
    "before": _is_day,
    "after": _is_day,
    "from": lambda value: value == "me",
    "is": lambda value: value in {"pinned", "archived"},
}
