"""`find`: the one search, of reviewers and of users in their own conversations.

A message is found if it contains every term of the query; the first message of a conversation also if some
of them are in the title. The newest messages come first, and no more than `HITS_MAX` are read: that bounds
the time of a search for a word that is in every message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from chat.search.index import TABLE, scope_of
from chat.search.marks import cut_at
from chat.search.query import Term, terms_of
from chat.search.tokens import INDEXED_MAX_CHARS

HITS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found. `message_of`: each conversation's newest message that was found.

    `is_cut`: there may be older messages, which were not read.
    """

    terms: list[Term]
    message_of: dict[UUID, int] = field(default_factory=dict)
    is_cut: bool = False


def find(
    query: str,
    *,
    user_id: int | None = None,
    with_hidden: bool = True,
    first_id: int | None = None,
    role: str = "",
    limit: int = HITS_MAX,
) -> Hits:
    """Search titles and messages, in every conversation or only in those of one user.

    `with_hidden`: also in the conversations of the user's programs. `first_id`: only messages from this one
    on. `role`: only messages of this role. Nothing is found for a query without terms.
    """
    terms = terms_of(query)
    if not terms:
        return Hits(terms)
    scopes = []
    if user_id is not None:
        scopes = [
            scope_of(user_id, is_hidden=hidden) for hidden in (False, True) if with_hidden or not hidden
        ]
    make = _sqlite if connection.vendor == "sqlite" else _postgresql
    sql, parameters = make(terms, scopes, first_id, limit + 1)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    is_cut = len(rows) > limit
    rows = [row[:2] for row in rows[:limit] if not role or row[2] == role]
    message_of: dict[UUID, int] = {}
    for message_id, conversation_id in rows:
        pk = conversation_id if isinstance(conversation_id, UUID) else UUID(hex=conversation_id)
        message_of[pk] = max(message_id, message_of.get(pk, 0))
    return Hits(terms, message_of, is_cut=is_cut)


def snippets(hits: Hits, conversation_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the text around the match for each of these conversations; empty if it is in the title."""
    shown = {hits.message_of[pk]: pk for pk in conversation_ids if pk in hits.message_of}
    if not shown:
        return {}
    places = ", ".join(["%s"] * len(shown))
    # The text of a message, or the first slice of a very long one (models/long_text.py).
    slices = "SELECT s.text FROM chat_text_slice s WHERE s.key = substr(m.text, 2, 32) AND s.position = 0"
    start = f"substr(coalesce(({slices}), m.text), 1, {INDEXED_MAX_CHARS})"
    sql = f"SELECT m.id, {start} FROM chat_message m WHERE m.id IN ({places})"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, list(shown))
        return {shown[message_id]: cut_at(text, hits.terms) for message_id, text in cursor.fetchall()}


def _sqlite(terms: list[Term], scopes: list[str], first_id: int | None, limit: int) -> tuple[str, list[Any]]:
    match = f"{{text title}} : ({' AND '.join(term.as_fts5 for term in terms)})"
    if scopes:
        match += f" AND scope : ({' OR '.join(scopes)})"
    hits = f"SELECT rowid AS id FROM {TABLE} WHERE {TABLE} MATCH %s"  # noqa: S608
    return _joined(hits, "rowid", [match], first_id, limit)


def _postgresql(
    terms: list[Term], scopes: list[str], first_id: int | None, limit: int
) -> tuple[str, list[Any]]:
    match = " & ".join(term.as_tsquery for term in terms)
    if scopes:
        match += f" & ({' | '.join(f"'~{scope}'" for scope in scopes)})"
    hits = f"SELECT message_id AS id FROM {TABLE} WHERE vector @@ %s::tsquery"  # noqa: S608
    return _joined(hits, "message_id", [match], first_id, limit)


def _joined(
    hits: str, key: str, parameters: list[Any], first_id: int | None, limit: int
) -> tuple[str, list[Any]]:
    if first_id is not None:
        hits, parameters = f"{hits} AND {key} >= %s", [*parameters, first_id]
    sql = (
        f"WITH hit AS MATERIALIZED ({hits} ORDER BY {key} DESC LIMIT %s) "  # noqa: S608
        "SELECT hit.id, chat_message.conversation_id, chat_message.role "
        "FROM hit JOIN chat_message ON chat_message.id = hit.id "
        "ORDER BY hit.id DESC"
    )
    return sql, [*parameters, limit]
