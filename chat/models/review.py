"""What reviewers add to conversations: marks (flags, labels, notes, verdicts) and assignments.

A mark belongs to a conversation, or to one of its messages. Each has an author and a date; the name of the
author stays when the account is erased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

# Of conversations. To read them, staff need `view_conversation`.
PERMISSIONS: list[tuple[str, str | StrPromise]] = [
    ("review_conversation", _("Can flag, label, judge and annotate conversations")),
    ("export_conversation", _("Can export conversations")),
    ("redact_conversation", _("Can redact conversations")),
    ("manage_review", _("Can assign conversations to reviewers")),
    ("view_personal_data", _("Can see personal data that is masked for others")),
]
NOTE_MAX_CHARS = 10_000
# The highest value of the scale “1 to 5”.
SCALE_MAX = 5


class Label(models.Model):
    """A word of the vocabulary that reviewers choose from."""

    class Colour(models.TextChoices):
        GREY = "grey", _("grey")
        BLUE = "blue", _("blue")
        GREEN = "green", _("green")
        YELLOW = "yellow", _("yellow")
        RED = "red", _("red")
        PURPLE = "purple", _("purple")

    name = models.CharField(_("name"), max_length=40, unique=True)
    colour = models.CharField(_("colour"), max_length=10, choices=Colour, default=Colour.GREY)
    description = models.CharField(_("description"), max_length=200, blank=True)
    is_active = models.BooleanField(
        _("in use"), default=True, help_text=_("Reviewers can no longer choose a label that is not in use.")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name = _("label")
        verbose_name_plural = _("labels")

    def __str__(self) -> str:
        return self.name


class Criterion(models.Model):
    """A question of the rubric by which reviewers judge, such as “Is it correct?”."""

    class Scale(models.TextChoices):
        YES_NO = "yes_no", _("yes or no")
        FIVE = "five", _("1 to 5")

    name = models.CharField(_("name"), max_length=40, unique=True)
    question = models.CharField(_("question"), max_length=200, blank=True)
    scale = models.CharField(_("scale"), max_length=10, choices=Scale, default=Scale.YES_NO)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("in use"), default=True)

    class Meta:
        ordering = ["position", "pk"]
        verbose_name = _("criterion")
        verbose_name_plural = _("rubric")

    def __str__(self) -> str:
        return self.name

    @property
    def values(self) -> list[tuple[int, str]]:
        """The values that a verdict may have, with their names."""
        if self.scale == self.Scale.YES_NO:
            return [(1, str(_("yes"))), (0, str(_("no")))]
        return [(value, str(value)) for value in range(1, SCALE_MAX + 1)]

    def name_of(self, value: int) -> str:
        """Return a value in words, also one of an earlier scale."""
        return dict(self.values).get(value, str(value))


class MarkQuerySet(models.QuerySet["Mark"]):
    def open_flags(self) -> MarkQuerySet:
        """Return the flags that are not resolved."""
        return self.filter(kind=Mark.Kind.FLAG, resolved_at=None)


class Mark(models.Model):
    """A flag, a label, a note or a verdict of one reviewer."""

    class Kind(models.TextChoices):
        FLAG = "flag", _("flag")
        LABEL = "label", _("label")
        NOTE = "note", _("note")
        VERDICT = "verdict", _("verdict")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    conversation = models.ForeignKey("chat.Conversation", models.CASCADE, related_name="marks")
    # Null: the whole conversation.
    message = models.ForeignKey("chat.Message", models.CASCADE, null=True, blank=True, related_name="marks")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="review_marks"
    )
    author_name = models.CharField(_("author"), max_length=150)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    label = models.ForeignKey(Label, models.CASCADE, null=True, blank=True, related_name="marks")
    criterion = models.ForeignKey(Criterion, models.CASCADE, null=True, blank=True, related_name="marks")
    value = models.SmallIntegerField(
        _("value"), null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(SCALE_MAX)]
    )
    # A note, or why it was flagged.
    text = models.TextField(_("text"), blank=True, max_length=NOTE_MAX_CHARS)
    # Flags only.
    resolved_at = models.DateTimeField(_("resolved"), null=True, blank=True)
    resolved_by_name = models.CharField(_("resolved by"), max_length=150, blank=True)

    objects = MarkQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["kind", "conversation"], name="marks_by_kind"),
            models.Index(
                fields=["conversation"], condition=Q(kind="flag", resolved_at=None), name="open_flags"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["message", "label"], condition=Q(kind="label"), name="label_once_per_message"
            ),
            models.UniqueConstraint(
                fields=["conversation", "label"],
                condition=Q(kind="label", message=None),
                name="label_once_per_conversation",
            ),
            models.UniqueConstraint(
                fields=["message", "criterion", "author"],
                condition=Q(kind="verdict"),
                name="verdict_once_per_message",
            ),
            models.UniqueConstraint(
                fields=["conversation", "criterion", "author"],
                condition=Q(kind="verdict", message=None),
                name="verdict_once_per_conversation",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.author_name}"

    @property
    def value_name(self) -> str:
        """The value of a verdict in words."""
        return "" if self.criterion is None or self.value is None else self.criterion.name_of(self.value)


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def to_do(self) -> AssignmentQuerySet:
        return self.filter(done_at=None)

    def done(self) -> AssignmentQuerySet:
        return self.filter(done_at__isnull=False)


class Assignment(models.Model):
    """A conversation that a reviewer is to read, or has reviewed. A reviewer may take one unasked."""

    conversation = models.ForeignKey("chat.Conversation", models.CASCADE, related_name="assignments")
    message = models.ForeignKey(
        "chat.Message", models.CASCADE, null=True, blank=True, related_name="assignments"
    )
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="assignments")
    assigned_by_name = models.CharField(_("assigned by"), max_length=150)
    created_at = models.DateTimeField(_("assigned"), default=timezone.now)
    done_at = models.DateTimeField(_("reviewed"), null=True, blank=True)

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["reviewer", "done_at"], name="assignments_of_reviewer"),
            models.Index(
                fields=["conversation"], condition=Q(done_at__isnull=False), name="reviewed_conversations"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["reviewer", "message"],
                condition=Q(message__isnull=False),
                name="message_assigned_once",
            ),
            models.UniqueConstraint(
                fields=["reviewer", "conversation"],
                condition=Q(message=None),
                name="conversation_assigned_once",
            ),
        ]

    def __str__(self) -> str:
        return f"assignment {self.pk}"


def checked_value(criterion: Criterion, value: str) -> int:
    """Return the value of a verdict. Raises RequestRefused `bad_value`."""
    allowed = {str(number): number for number, _name in criterion.values}
    if value not in allowed:
        text = _("“%(name)s” takes one of: %(values)s.") % {
            "name": criterion.name,
            "values": ", ".join(name for _number, name in criterion.values),
        }
        raise RequestRefused("bad_value", str(text))
    return allowed[value]


def checked_note(text: str) -> str:
    """Return a note without surrounding space. Raises RequestRefused: `empty`, `too_long`."""
    text = text.strip()
    if not text:
        raise RequestRefused("empty", str(_("Write something first.")))
    if len(text) > NOTE_MAX_CHARS:
        too_long = _("The text is too long: the limit is %(limit)d characters.") % {"limit": NOTE_MAX_CHARS}
        raise RequestRefused("too_long", str(too_long))
    return text
