"""Sessions: checks whether users are still signed in."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from chat.models import rows

# (session key, user id)
type SessionPair = tuple[str, int]


class SessionCheck:
    """Checks many sessions repeatedly: one query per check, and unchanged sessions are not decoded again.

    A session ends when the user signs out, changes the password or is disabled, and when it expires.
    """

    def __init__(self) -> None:
        # Session data and password hash of each pair at its last successful check.
        self._verified: dict[SessionPair, tuple[str, str]] = {}

    def valid(self, pairs: set[SessionPair]) -> set[SessionPair]:
        """Return those of `pairs` that are still signed in."""
        current = _read_current(pairs) if pairs else {}
        changed = {pair for pair, now in current.items() if self._verified.get(pair) != now}
        ended = changed - _verify(changed)
        self._verified = {pair: now for pair, now in current.items() if pair not in ended}
        return set(self._verified)


def _read_current(pairs: set[SessionPair]) -> dict[SessionPair, tuple[str, str]]:
    """Return session data and password hash of those pairs that have a session and an active user.

    In SQL, and with the pairs as one parameter: for a thousand pairs, the ORM takes ten times as long.
    """
    keys, user_ids = zip(*pairs, strict=True)
    wanted: list[str | list[Any]]
    if connection.vendor == "postgresql":
        wanted = [list(keys), list(user_ids)]
        source = "SELECT * FROM unnest(%s::text[], %s::bigint[])"
    else:
        wanted = [json.dumps(list(pairs))]
        source = "SELECT value ->> 0, value ->> 1 FROM json_each(%s)"
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH wanted (session_key, user_id) AS ({source}) "  # noqa: S608 - our own names
            "SELECT wanted.session_key, wanted.user_id, session.session_data, person.password FROM wanted "
            f"JOIN {Session._meta.db_table} session ON session.session_key = wanted.session_key "
            f"JOIN {get_user_model()._meta.db_table} person ON person.id = wanted.user_id "
            "WHERE session.expire_date > %s AND person.is_active",
            [*wanted, now],
        )
        return {(key, user_id): (data, password) for key, user_id, data, password in cursor.fetchall()}


def valid_sessions(pairs: set[SessionPair]) -> set[SessionPair]:
    """Return those of `pairs` that are still signed in."""
    return SessionCheck().valid(pairs)


def session_pair(session_key: str) -> SessionPair | None:
    """Return a session and the user whom it belongs to if it is valid, else None."""
    # PostgreSQL fails to look up some characters, and no key has them.
    is_possible = session_key.isascii() and session_key.isalnum()
    session = rows.get(Session, session_key=session_key) if is_possible else None
    user_id: str = session.get_decoded().get(SESSION_KEY, "") if session is not None else ""
    if not user_id.isdecimal() or SignedInUser(session_key, int(user_id)).read() is None:
        return None
    return session_key, int(user_id)


class SignedInUser:
    """Reads the user of one session; called for each frame of a socket."""

    def __init__(self, session_key: str, user_id: int) -> None:
        self._session_key = session_key
        self._user_id = user_id
        # Session data and password hash at the last successful check: they are not decoded again.
        self._verified: tuple[str, str] | None = None

    def read(self) -> AbstractUser | None:
        """Return the user if the session is valid and belongs to them now, else None. One query."""
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        found = rows.first_of_both(
            get_user_model(),
            Session,
            f"{get_user_model()._meta.db_table}.id = %s AND session_key = %s AND expire_date > %s",
            [self._user_id, self._session_key, now],
        )
        if found is None or not found[0].is_active:
            return None
        user, session = found
        current = (session.session_data, user.password)
        if self._verified != current:
            if not _belongs(session.get_decoded(), user):
                return None
            self._verified = current
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
