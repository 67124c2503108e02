"""What reviewers do: flag, label, annotate and judge a conversation or one of its messages, and finish it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models import Assignment, Conversation, Criterion, Label, Mark, Message
from chat.models.review import checked_note, checked_value
from chat.text import clean

REASON_MAX_CHARS = 500


@dataclass(frozen=True, slots=True)
class ReviewTarget:
    """What a mark is put on: a conversation, or one of its messages."""

    conversation_id: UUID
    message_id: int | None = None

    @property
    def key(self) -> dict[str, object]:
        return {"conversation_id": self.conversation_id, "message_id": self.message_id}


def target_in(conversation: Conversation, message_id: str) -> ReviewTarget:
    """Return the target that a form names; an empty id is the conversation. Raises RequestRefused."""
    if not message_id:
        return ReviewTarget(conversation.pk)
    is_number = message_id.isascii() and message_id.isdigit() and len(message_id) < 16
    if not is_number or not Message.objects.filter(conversation=conversation, pk=int(message_id)).exists():
        raise RequestRefused("not_found", _("This message does not belong to the conversation."))
    return ReviewTarget(conversation.pk, int(message_id))


# All of these can be repeated without harm: a browser may send a form twice.


@transaction.atomic
def add_flag(target: ReviewTarget, author: AbstractUser, text: str = "") -> None:
    """Flag the target, unless it is flagged."""
    if not Mark.objects.open_flags().filter(**target.key).exists():
        _add(target, author, Mark.Kind.FLAG, text=clean(text).strip()[:REASON_MAX_CHARS])


def resolve_flags(target: ReviewTarget, author: AbstractUser) -> int:
    """Resolve the open flags of a target; return how many there were. They stay, with who resolved them."""
    open_flags = Mark.objects.open_flags().filter(**target.key)
    return open_flags.update(resolved_at=timezone.now(), resolved_by_name=author.get_username())


def add_label(target: ReviewTarget, author: AbstractUser, label: Label) -> Mark:
    """Put a label on the target, unless it is there. Raises RequestRefused `bad_label`."""
    if not label.is_active:
        raise RequestRefused("bad_label", _("This label is not in use any more."))
    mark, _is_new = Mark.objects.get_or_create(
        **target.key,
        kind=Mark.Kind.LABEL,
        label=label,
        defaults={"author_id": author.pk, "author_name": author.get_username()},
    )
    return mark


def remove_label(target: ReviewTarget, label: Label) -> None:
    """Take a label off the target."""
    Mark.objects.filter(**target.key, kind=Mark.Kind.LABEL, label=label).delete()


def add_note(target: ReviewTarget, author: AbstractUser, text: str) -> Mark:
    """Add a note. Raises RequestRefused: `empty`, `too_long`."""
    return _add(target, author, Mark.Kind.NOTE, text=checked_note(clean(text)))


def delete_note(author: AbstractUser, conversation: Conversation, mark_id: int) -> None:
    """Delete a note of the author. Raises RequestRefused `not_found`, also for the note of another."""
    own = Mark.objects.filter(pk=mark_id, kind=Mark.Kind.NOTE, author_id=author.pk, conversation=conversation)
    if not own.delete()[0]:
        raise RequestRefused("not_found", _("Only the author of a note can delete it."))


def judge(target: ReviewTarget, author: AbstractUser, criterion: Criterion, value: str) -> Mark | None:
    """Store the author's verdict on one criterion, or withdraw it (empty value). Raises `bad_value`."""
    own = {**target.key, "kind": Mark.Kind.VERDICT, "criterion": criterion, "author_id": author.pk}
    if not value:
        Mark.objects.filter(**own).delete()
        return None
    number = checked_value(criterion, value)
    verdict, _is_new = Mark.objects.update_or_create(
        **own,
        defaults={"value": number, "created_at": timezone.now(), "author_name": author.get_username()},
    )
    return verdict


def set_reviewed(conversation: Conversation, reviewer: AbstractUser, *, is_done: bool) -> None:
    """Mark the reviewer's assignment as done, or as open again. Without an assignment, create one."""
    done_at = timezone.now() if is_done else None
    Assignment.objects.update_or_create(
        conversation=conversation,
        message=None,
        reviewer_id=reviewer.pk,
        defaults={"done_at": done_at},
        create_defaults={"done_at": done_at, "assigned_by_name": reviewer.get_username()},
    )
    # Messages that were assigned one by one are part of it.
    parts = Assignment.objects.filter(
        conversation=conversation, message__isnull=False, reviewer_id=reviewer.pk
    )
    parts.filter(done_at__isnull=is_done).update(done_at=done_at)


def assign(targets: Iterable[ReviewTarget], reviewer: AbstractUser, by: AbstractUser) -> int:
    """Assign targets to a reviewer; return how many were not assigned to them before."""
    assigned = 0
    for target in targets:
        _row, is_new = Assignment.objects.get_or_create(
            **target.key, reviewer_id=reviewer.pk, defaults={"assigned_by_name": by.get_username()}
        )
        assigned += is_new
    return assigned


def _add(target: ReviewTarget, author: AbstractUser, kind: str, **fields: object) -> Mark:
    return Mark.objects.create(
        **target.key, kind=kind, author_id=author.pk, author_name=author.get_username(), **fields
    )
