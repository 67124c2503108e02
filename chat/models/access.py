"""Who may do what: sessions that are in force."""

from __future__ import annotations

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare


def sessions_in_force(pairs: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return those of `pairs` (session key, user id) that are still signed in: two queries for all.

    A session ends by signing out, by its age, by a changed password, or when its person is disabled.
    """
    users = get_user_model().objects.in_bulk({user_id for _key, user_id in pairs})
    keys = {key for key, _user_id in pairs}
    sessions = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    found = {session.session_key: session.get_decoded() for session in sessions}
    return {
        (key, user_id)
        for key, user_id in pairs
        if key in found and user_id in users and _belongs(found[key], users[user_id])
    }


def _belongs(session: dict[str, str], user: AbstractUser) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    stored = session.get(HASH_SESSION_KEY, "")
    return (
        user.is_active
        and session.get(SESSION_KEY) == str(user.pk)
        and any(constant_time_compare(stored, hash_) for hash_ in hashes)
    )


def user_of(session_key: str, user_id: int) -> AbstractUser | None:
    """Return the person if their session is still in force."""
    if not sessions_in_force({(session_key, user_id)}):
        return None
    return get_user_model().objects.filter(pk=user_id).first()
