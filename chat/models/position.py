"""Positions in the list of conversations: each page is read from where the one before ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """The place of one conversation in the list, which is ordered by its time, then by its id."""

    updated_at: datetime
    id: UUID

    @property
    def below(self) -> Q:
        """What is after it in the list."""
        return Q(updated_at__lte=self.updated_at) & (Q(updated_at__lt=self.updated_at) | Q(pk__lt=self.id))

    @property
    def down_to(self) -> Q:
        """What is before it in the list, or at it."""
        return Q(updated_at__gte=self.updated_at) & (Q(updated_at__gt=self.updated_at) | Q(pk__gte=self.id))

    def __str__(self) -> str:
        """Return it for an address: microseconds since 1970, and the id."""
        return f"{(self.updated_at - EPOCH) // timedelta(microseconds=1)}.{self.id.hex}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position that `str` made `text` of; None for any other text."""
        microseconds, _dot, id_ = text.partition(".")
        if not (microseconds.isascii() and microseconds.isdecimal() and len(microseconds) < 18):
            return None
        try:
            return cls(EPOCH + timedelta(microseconds=int(microseconds)), UUID(hex=id_))
        except (OverflowError, ValueError):
            return None
