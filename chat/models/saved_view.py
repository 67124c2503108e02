"""Saved views: filters of the list of conversations under a name, and samples that were drawn at random."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

NAME_MAX_CHARS = 80
QUERY_MAX_CHARS = 2_000
SAMPLE_MAX = 500


class SavedView(models.Model):
    """A list that reviewers share. A sample has the ids of its conversations, in the order of the draw."""

    name = models.CharField(_("name"), max_length=NAME_MAX_CHARS)
    # The query string of the list.
    query = models.CharField(max_length=QUERY_MAX_CHARS, blank=True)
    # Null: no sample.
    sample = models.JSONField(null=True, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    author_name = models.CharField(_("author"), max_length=150)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def replaced_query(self, replace: Callable[[str], str]) -> str:
        """Return the query string with a function applied to each value, such as the words of a search."""
        query = QueryDict(self.query, mutable=True)
        for name, values in list(query.lists()):
            query.setlist(name, [replace(value) for value in values])
        return query.urlencode()

    @property
    def ids(self) -> list[UUID]:
        """The conversations of a sample."""
        return [UUID(value) for value in self.sample or ()]


def draw(
    rows: Iterable[tuple[UUID, Any]], count: int, per_group: int | None, random_: random.Random | None = None
) -> list[UUID]:
    """Draw up to `count` of (id, group) at random, at most `per_group` of each group."""
    rows = list(rows)
    (random_ or random.SystemRandom()).shuffle(rows)
    drawn: list[UUID] = []
    taken: Counter[Any] = Counter()
    for pk, group in rows:
        if len(drawn) == count:
            break
        if per_group is None or taken[group] < per_group:
            taken[group] += 1
            drawn.append(pk)
    return drawn
