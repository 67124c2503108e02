"""Record every access to conversations of other users, and ask for a reason if the site requires one."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest

from chat.models import AccessRecord
from chat.text import clean

REASON_KEPT_S = 3600
REASON_MAX_CHARS = 500
# Of a search; longer ones are cut in the log.
WORDS_MAX_CHARS = 500
_SESSION_KEY = "access_reason"


def record_open(request: HttpRequest, conversation_id: UUID, user_id: int, **details: Any) -> None:
    """Record that staff open a conversation, unless it is their own. Call before its text is sent."""
    if user_id != request.user.pk:
        record(
            request,
            AccessRecord.Action.OPEN,
            conversation_id=conversation_id,
            subject_id=user_id,
            details=details,
        )


def record_search(request: HttpRequest, words: str, **details: Any) -> None:
    """Record a search in the conversations of all users. Call before its results are sent."""
    record(
        request,
        AccessRecord.Action.SEARCH,
        details={"words": clean(words)[:WORDS_MAX_CHARS], **details},
    )


def record(
    request: HttpRequest,
    action: str,
    *,
    conversation_id: UUID | None = None,
    subject_id: int | None = None,
    details: dict[str, Any] | None = None,
    reason: str = "",
) -> AccessRecord:
    """Append a record of the signed-in user to the access log. Raises if it cannot be stored."""
    user = request.user
    assert isinstance(user, AbstractUser)
    return AccessRecord.add(
        action,
        actor_id=user.pk,
        actor_name=user.get_username(),
        conversation_id=conversation_id,
        subject_id=subject_id,
        address=str(request.META.get("REMOTE_ADDR", ""))[:45],
        reason=(reason or current_reason(request))[:REASON_MAX_CHARS],
        details=details,
    )


def needs_reason(request: HttpRequest) -> bool:
    """Return whether the user must give a reason before reading conversations of others."""
    return bool(settings.ACCESS_REASON_REQUIRED) and not current_reason(request)


def current_reason(request: HttpRequest) -> str:
    """Return the reason that was given in this session within the last hour, or an empty text."""
    kept = request.session.get(_SESSION_KEY)
    if not isinstance(kept, dict) or time.time() - float(kept.get("at", 0)) > REASON_KEPT_S:
        return ""
    return str(kept.get("text", ""))


def keep_reason(request: HttpRequest, reason: str) -> bool:
    """Keep the reason for an hour. Return False if it says nothing."""
    reason = clean(reason).strip()[:REASON_MAX_CHARS]
    if reason:
        request.session[_SESSION_KEY] = {"text": reason, "at": time.time()}
    return bool(reason)
