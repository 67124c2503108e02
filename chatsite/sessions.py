"""Sessions in the database, as Django has them, for keys that can exist."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """A session. A key with other characters than Django's own is none: PostgreSQL fails to look up a NUL."""

    def __init__(self, session_key: str | None = None) -> None:
        is_possible = session_key is not None and session_key.isascii() and session_key.isalnum()
        super().__init__(session_key if is_possible else None)
