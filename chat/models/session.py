"""Sessions: checks whether users are still signed in."""

from __future__ import annotations

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

# (session key, user id)
type SessionPair = tuple[str, int]


class SessionCheck:
    """Checks many sessions repeatedly: two queries per check, and unchanged sessions are not decoded again.

    A session ends when the user signs out, changes the password or is disabled, and when it expires.
    """

    def __init__(self) -> None:
        # Session data and password hash of each pair at its last successful check.
        self._verified: dict[SessionPair, tuple[str, str]] = {}

    def valid(self, pairs: set[SessionPair]) -> set[SessionPair]:
        """Return those of `pairs` that are still signed in."""
        active = get_user_model().objects.filter(pk__in={pair[1] for pair in pairs}, is_active=True)
        passwords = dict(active.values_list("pk", "password"))
        sessions = Session.objects.filter(
            session_key__in={pair[0] for pair in pairs}, expire_date__gt=timezone.now()
        )
        data = dict(sessions.values_list("session_key", "session_data"))
        current = {
            (key, user_id): (data[key], passwords[user_id])
            for key, user_id in pairs
            if key in data and user_id in passwords
        }
        changed = {pair for pair, now in current.items() if self._verified.get(pair) != now}
        ended = changed - _verify(changed)
        self._verified = {pair: now for pair, now in current.items() if pair not in ended}
        return set(self._verified)


def valid_sessions(pairs: set[SessionPair]) -> set[SessionPair]:
    """Return those of `pairs` that are still signed in. Two queries."""
    return SessionCheck().valid(pairs)


def user_of_session(session_key: str, user_id: int) -> AbstractUser | None:
    """Return the user if the session is valid and belongs to them, else None."""
    session = Session.objects.filter(session_key=session_key, expire_date__gt=timezone.now()).first()
    user = get_user_model().objects.filter(pk=user_id).first()
    if session is None or user is None or not _belongs(session.get_decoded(), user):
        return None
    return user


def _verify(pairs: set[SessionPair]) -> set[SessionPair]:
    if not pairs:
        return set()
    users = get_user_model().objects.in_bulk({user_id for _key, user_id in pairs})
    sessions = Session.objects.in_bulk([key for key, _user_id in pairs])
    return {
        (key, user_id)
        for key, user_id in pairs
        if key in sessions and user_id in users and _belongs(sessions[key].get_decoded(), users[user_id])
    }


def _belongs(session: dict[str, str], user: AbstractUser) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    stored = session.get(HASH_SESSION_KEY, "")
    return (
        user.is_active
        and session.get(SESSION_KEY) == str(user.pk)
        and any(constant_time_compare(stored, hash_) for hash_ in hashes)
    )
