"""The forms of the review panel: flag, label, note, verdict, reviewed, assignment."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model as DjangoModel
from django.http import QueryDict
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models import Conversation, Criterion, Label
from chat.review import marks
from chat.review.marks import ReviewTarget
from chat.review.reviewers import reviewers

type PanelAction = Callable[[AbstractUser, Conversation, ReviewTarget, QueryDict], None]


def apply_panel_action(
    user: AbstractUser, conversation: Conversation, target: ReviewTarget, data: QueryDict
) -> None:
    """Apply the form that `data["action"]` names. Raises RequestRefused, PermissionDenied."""
    action = ACTIONS.get(data.get("action", ""))
    if action is None:
        raise RequestRefused("malformed", _("Unknown action."))
    action(user, conversation, target, data)


def _flag(user: AbstractUser, _c: Conversation, target: ReviewTarget, data: QueryDict) -> None:
    marks.add_flag(target, user, data.get("text", ""))


def _resolve(user: AbstractUser, _c: Conversation, target: ReviewTarget, _d: QueryDict) -> None:
    marks.resolve_flags(target, user)


def _label(user: AbstractUser, _c: Conversation, target: ReviewTarget, data: QueryDict) -> None:
    if "remove" in data:
        marks.remove_label(target, _row(Label, data.get("remove", "")))
    else:
        marks.add_label(target, user, _row(Label, data.get("add", "")))


def _note(user: AbstractUser, _c: Conversation, target: ReviewTarget, data: QueryDict) -> None:
    marks.add_note(target, user, data.get("text", ""))


def _delete_note(
    user: AbstractUser, conversation: Conversation, target: ReviewTarget, data: QueryDict
) -> None:
    marks.delete_note(user, conversation, _number(data.get("mark", "")))


def _judge(user: AbstractUser, _c: Conversation, target: ReviewTarget, data: QueryDict) -> None:
    marks.judge(target, user, _row(Criterion, data.get("criterion", "")), data.get("value", ""))


def _reviewed(user: AbstractUser, conversation: Conversation, _t: ReviewTarget, data: QueryDict) -> None:
    marks.set_reviewed(conversation, user, is_done=data.get("value") != "0")


def _assign(user: AbstractUser, _c: Conversation, target: ReviewTarget, data: QueryDict) -> None:
    if not user.has_perm("chat.manage_review"):
        raise PermissionDenied
    reviewer = reviewers().filter(pk=_number(data.get("reviewer", ""))).first()
    if reviewer is None:
        raise RequestRefused("not_found", _("Choose a reviewer."))
    marks.assign([target], reviewer, user)


ACTIONS: dict[str, PanelAction] = {
    "flag": _flag,
    "resolve": _resolve,
    "label": _label,
    "note": _note,
    "delete_note": _delete_note,
    "judge": _judge,
    "reviewed": _reviewed,
    "assign": _assign,
}


def _row[Row: DjangoModel](kind: type[Row], pk: str) -> Row:
    found = kind._default_manager.filter(pk=_number(pk)).first()
    if found is None:
        raise RequestRefused("not_found", _("This does not exist any more. Reload the page."))
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
