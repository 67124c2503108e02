"""Input checks and rate limits of a user's requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.generation import Generation
from chat.text import clean

SYSTEM_PROMPT_MAX_CHARS = 20_000
TEMPERATURE_MAX = 2


def lock_user(user_id: int) -> None:
    """Lock the user's row until the transaction ends, so that their requests are stored one at a time.

    Two processes can then neither exceed a limit together nor store the same client id twice. SQLite needs
    no lock: its IMMEDIATE transactions already run one at a time.
    """
    if connection.features.has_select_for_no_key_update:
        get_user_model().objects.select_for_update(no_key=True).filter(pk=user_id).values_list("pk").first()


def checked_text(text: str, *, may_be_empty: bool = False) -> str:
    """Return a cleaned message. Raises RequestRefused: `empty`, `too_long`."""
    text = clean(text)
    if not text.strip() and not may_be_empty:
        raise RequestRefused("empty", _("The message is empty."))
    if len(text) > settings.MESSAGE_MAX_CHARS:
        raise RequestRefused(
            "too_long",
            _(
                "This message has %(length)s characters; the limit is %(limit)s. "
                "Shorten it or send it in parts."
            )
            % {"length": len(text), "limit": settings.MESSAGE_MAX_CHARS},
        )
    return text


def check_parent(parent_id: int | None, is_new: bool) -> None:
    """Check that the first message of a new conversation follows none. Raises RequestRefused `bad_parent`."""
    if is_new and parent_id is not None:
        raise RequestRefused("bad_parent", _("A new conversation has no earlier messages."))


def checked_system_prompt(text: str) -> str:
    """Return a cleaned system prompt. Raises RequestRefused `bad_settings`."""
    text = clean(text).replace("\r\n", "\n").strip()
    if len(text) > SYSTEM_PROMPT_MAX_CHARS:
        raise RequestRefused(
            "bad_settings",
            _("This system prompt has %(length)s characters; the limit is %(limit)s.")
            % {"length": len(text), "limit": SYSTEM_PROMPT_MAX_CHARS},
        )
    return text


def checked_temperature(value: float | None) -> float | None:
    """Return a valid temperature. Raises RequestRefused `bad_settings`."""
    if value is not None and not 0 <= value <= TEMPERATURE_MAX:
        raise RequestRefused("bad_settings", _("The temperature must be a number from 0 to 2, or empty."))
    return value


def checked_settings(system_prompt: str, temperature: float | None) -> dict[str, Any]:
    """Return the valid settings of a new conversation, by field. Raises RequestRefused `bad_settings`."""
    return {
        "system_prompt": checked_system_prompt(system_prompt),
        "temperature": checked_temperature(temperature),
    }


def check_ask_limits(user: AbstractUser) -> None:
    """Check a user's limits for one more message. The caller has called `lock_user`.

    Raises RequestRefused: `too_many_running`, `too_many_asks`.
    """
    window = timezone.now() - timedelta(minutes=1)
    running, recent = _running_and_recent(user.pk, window)
    if running >= settings.RUNNING_PER_USER:
        raise RequestRefused(
            "too_many_running",
            _("You have reached the limit of %(limit)s running answers. Wait for one to finish, or stop one.")
            % {"limit": settings.RUNNING_PER_USER},
        )
    if recent >= settings.ASKS_PER_MINUTE:
        own = Generation.objects.filter(user_id=user.pk, request__isnull=True)
        oldest = own.filter(created_at__gt=window).order_by("created_at").values_list("created_at", flat=True)
        wait_s = max(1.0, (oldest[0] - window).total_seconds())
        raise RequestRefused(
            "too_many_asks",
            _("You have reached the limit of %(limit)s messages per minute. Try again in %(wait)s s.")
            % {"limit": settings.ASKS_PER_MINUTE, "wait": round(wait_s)},
            retry_after_s=wait_s,
        )


def _running_and_recent(user_id: int, since: datetime) -> tuple[int, int]:
    """Return how many answers of a user's chats are not final, and how many were asked for after `since`.

    One statement without the ORM's composing, because every message asks for it.
    """
    own = "SELECT COUNT(*) FROM chat_generation WHERE user_id = %s AND request IS NULL AND"
    is_running = f"finished_at IS NULL AND owner <> '{Generation.AT_PROVIDER}'"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT ({own} {is_running}), ({own} created_at > %s)",
            [user_id, user_id, connection.ops.adapt_datetimefield_value(since)],
        )
        running, recent = cursor.fetchone()
    return running, recent


def not_found() -> RequestRefused:
    return RequestRefused("not_found", _("This conversation does not exist."))
