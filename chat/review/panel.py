"""The panel beside a transcript: the marks on one target, and what the reviewer can add to it."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import AbstractUser

from chat.models import Assignment, Conversation, Criterion, Label, Mark
from chat.review.marks import ReviewTarget
from chat.review.masking import Mask


@dataclass(frozen=True, slots=True)
class LabelChoice:
    label: Label
    # Who put it there; None if it is not there.
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class OthersVerdict:
    author_name: str
    value_name: str


@dataclass(frozen=True, slots=True)
class CriterionChoice:
    """A question of the rubric with the reviewer's own verdict, and then also those of others."""

    criterion: Criterion
    own_value: int | None
    others: list[OthersVerdict]


@dataclass(frozen=True, slots=True)
class ReviewPanel:
    target: ReviewTarget
    flags: list[Mark]
    past_flags: list[Mark]
    labels: list[LabelChoice]
    criteria: list[CriterionChoice]
    notes: list[Mark]
    own: Assignment | None
    assignments: list[Assignment]

    @property
    def is_reviewed_by_me(self) -> bool:
        return self.own is not None and self.own.done_at is not None


def marks_of(conversation: Conversation, masks: Mask) -> list[Mark]:
    """Return all marks of a conversation and its messages, oldest first, with masked texts. One query."""
    rows = Mark.objects.filter(conversation=conversation).select_related("label", "criterion")
    found = list(rows.order_by("pk"))
    for mark in found:
        mark.text = masks(mark.text)
    return found


def panel_of(
    target: ReviewTarget, conversation: Conversation, marks: list[Mark], reviewer: AbstractUser
) -> ReviewPanel:
    """Return the panel of a target. `marks`: all of the conversation. Three queries."""
    mine = [mark for mark in marks if mark.message_id == target.message_id]
    flags = [mark for mark in mine if mark.kind == Mark.Kind.FLAG]
    by_label = {mark.label_id: mark for mark in mine if mark.kind == Mark.Kind.LABEL}
    labels = [label for label in Label.objects.all() if label.is_active or label.pk in by_label]
    verdicts = [mark for mark in mine if mark.kind == Mark.Kind.VERDICT]
    assignments = list(
        Assignment.objects.filter(conversation=conversation, message=target.message_id).select_related(
            "reviewer"
        )
    )
    return ReviewPanel(
        target=target,
        flags=[mark for mark in flags if mark.resolved_at is None],
        past_flags=[mark for mark in flags if mark.resolved_at is not None],
        labels=[LabelChoice(label, by_label.get(label.pk)) for label in labels],
        criteria=[
            _choice(criterion, verdicts, reviewer) for criterion in Criterion.objects.filter(is_active=True)
        ],
        notes=[mark for mark in mine if mark.kind == Mark.Kind.NOTE],
        own=next((each for each in assignments if each.reviewer_id == reviewer.pk), None),
        assignments=assignments,
    )


def _choice(criterion: Criterion, verdicts: list[Mark], reviewer: AbstractUser) -> CriterionChoice:
    """Return a question. A verdict that is still to be given is not influenced by those of others."""
    given = [verdict for verdict in verdicts if verdict.criterion_id == criterion.pk]
    own = next((verdict.value for verdict in given if verdict.author_id == reviewer.pk), None)
    others = [
        OthersVerdict(verdict.author_name, verdict.value_name)
        for verdict in given
        if verdict.author_id != reviewer.pk
    ]
    return CriterionChoice(criterion, own, others if own is not None else [])
