"""Reviewers: who may review, how far each is, and how often two of them agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db.models import Count, Q, QuerySet

from chat.models import Assignment, Criterion, Mark


def reviewers() -> QuerySet[AbstractUser]:
    """Return the active staff who may review, by name."""
    users = get_user_model()
    allowed = Q(is_superuser=True)
    for permissions in ("user_permissions", "groups__permissions"):
        allowed |= Q(
            **{
                f"{permissions}__codename": "review_conversation",
                f"{permissions}__content_type__app_label": "chat",
            }
        )
    ids = users.objects.filter(allowed).values("pk")
    return users.objects.filter(pk__in=ids, is_active=True, is_staff=True, erasure=None).order_by("username")


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """How many items a reviewer was assigned or took, and how many are reviewed."""

    reviewer_id: int
    name: str
    total: int
    done: int

    @property
    def to_do(self) -> int:
        return self.total - self.done

    @property
    def percent(self) -> int:
        return round(100 * self.done / self.total) if self.total else 0


def progress() -> list[ReviewProgress]:
    """Return the progress of every reviewer who has a queue, by name."""
    rows = (
        Assignment.objects.order_by("reviewer__username")
        .values("reviewer", "reviewer__username")
        .annotate(total=Count("pk"), done=Count("done_at"))
    )
    return [
        ReviewProgress(row["reviewer"], row["reviewer__username"], row["total"], row["done"]) for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Verdicts of two reviewers on the same items, for one criterion.

    `kappa`: Cohen's kappa, agreement beyond chance: 1 is full agreement, 0 what chance would give. None if it
    is not defined, because both always gave the same verdict.
    """

    criterion: str
    first: str
    second: str
    items: int
    same: int
    kappa: float | None

    @property
    def percent(self) -> int:
        return round(100 * self.same / self.items)


def agreements() -> list[Agreement]:
    """Return the agreement of every two reviewers who judged the same items.

    Reads all verdicts, in the order of their items, and holds those of one item: 100,000 take a second.
    """
    criteria = dict(Criterion.objects.values_list("pk", "name"))
    pairs: dict[tuple[int, str, str], Counter[tuple[int, int]]] = defaultdict(Counter)
    for (criterion_id, *_item), verdicts in groupby(_verdicts(), key=lambda row: row[:3]):
        by_name = sorted((name, value) for *_item, name, value in verdicts)
        for (first, one), (second, other) in combinations(by_name, 2):
            pairs[criterion_id, first, second][one, other] += 1
    return [
        Agreement(
            criterion=criteria[criterion_id],
            first=first,
            second=second,
            items=values.total(),
            same=sum(count for (one, other), count in values.items() if one == other),
            kappa=kappa_of(values),
        )
        for (criterion_id, first, second), values in sorted(pairs.items())
    ]


def kappa_of(counts: Mapping[tuple[int, int], int]) -> float | None:
    """Return Cohen's kappa of a table: how often one reviewer gave x while the other gave y."""
    items = sum(counts.values())
    observed = sum(count for (one, other), count in counts.items() if one == other) / items
    first: dict[int, int] = defaultdict(int)
    second: dict[int, int] = defaultdict(int)
    for (one, other), count in counts.items():
        first[one] += count
        second[other] += count
    expected = sum(first[value] * second[value] for value in first) / items**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _verdicts() -> Iterator[tuple[Any, ...]]:
    """Yield (criterion, conversation, message, author, value) of reviewers who still exist, item by item."""
    item = ("criterion_id", "conversation_id", "message_id")
    rows = Mark.objects.filter(kind=Mark.Kind.VERDICT, author__isnull=False).order_by(*item)
    return rows.values_list(*item, "author__username", "value").iterator(chunk_size=2_000)
