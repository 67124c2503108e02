"""The index: a row for each message with text, in a table that Django does not know.

On SQLite it is an FTS5 table, on PostgreSQL a table of `tsvector` with a GIN index. A trigger deletes its
rows with their messages. The first message of a conversation also holds its title. Its owner is in the index
too, so that a search in one user's conversations takes as long as that user has hits.

`store` belongs into the transaction that stores the text.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import batched

from django.db import connection

from chat.search.tokens import INDEXED_MAX_CHARS, tokens_of

TABLE = "chat_search"
# PostgreSQL counts positions in a vector up to 16383. A longer message has several rows.
TOKENS_PER_VECTOR = 16_000
MERGE_EVERY_S = 20 * 3600

# The tokens are made here, so the tokenizer only splits at space. No ranking, so no sizes of columns.
_CREATE_FTS5 = f"""CREATE VIRTUAL TABLE IF NOT EXISTS {TABLE} USING fts5(
    text, title, scope, columnsize=0, prefix='2 3', tokenize="ascii tokenchars '+<>=$^`|~#%&@'")"""
_CREATE_TRIGGER = f"""CREATE TRIGGER IF NOT EXISTS {TABLE}_follows_messages AFTER DELETE ON chat_message
    BEGIN
        DELETE FROM {TABLE} WHERE rowid = old.id;
        INSERT OR IGNORE INTO {TABLE}_merges VALUES ('wanted', 0);
    END"""  # noqa: S608
# Deleted words stay in the blocks of FTS5 until a merge. What is to be merged, and since when.
_CREATE_MERGES = f"CREATE TABLE IF NOT EXISTS {TABLE}_merges (state text PRIMARY KEY, at real NOT NULL)"
SQLITE_SCHEMA = (_CREATE_FTS5, _CREATE_MERGES, _CREATE_TRIGGER)
# A trigger and no foreign key: Django truncates its tables without those that it does not know.
POSTGRESQL_SCHEMA = (
    f"""CREATE TABLE IF NOT EXISTS {TABLE} (
        message_id bigint NOT NULL, part integer NOT NULL, vector tsvector NOT NULL,
        PRIMARY KEY (message_id, part))""",
    f"CREATE INDEX IF NOT EXISTS {TABLE}_vector ON {TABLE} USING gin (vector)",
    f"""CREATE OR REPLACE FUNCTION {TABLE}_follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'TRUNCATE' THEN DELETE FROM {TABLE};
        ELSE DELETE FROM {TABLE} WHERE message_id = OLD.id; END IF;
        RETURN NULL; END $$""",  # noqa: S608
    f"""CREATE OR REPLACE TRIGGER {TABLE}_follows_messages AFTER DELETE ON chat_message
        FOR EACH ROW EXECUTE FUNCTION {TABLE}_follow()""",
    f"""CREATE OR REPLACE TRIGGER {TABLE}_empties_with_messages AFTER TRUNCATE ON chat_message
        FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_follow()""",
)


@dataclass(frozen=True, slots=True)
class Document:
    """What is indexed of a message. `title`: of its conversation, if the message is a first one."""

    message_id: int
    user_id: int
    is_hidden: bool
    text: str
    title: str = ""


def scope_of(user_id: int, *, is_hidden: bool) -> str:
    """Return the token that stands for the owner, different for conversations that pages do not list."""
    return f"{'h' if is_hidden else 'u'}{user_id}"


def create() -> None:
    """Create what is missing of the table and its trigger or indexes."""
    with connection.cursor() as cursor:
        for statement in SQLITE_SCHEMA if connection.vendor == "sqlite" else POSTGRESQL_SCHEMA:
            cursor.execute(statement)


def store(documents: Iterable[Document]) -> None:
    """Index messages, or index them again after their text, title or owner changed."""
    documents = list(documents)
    if not documents:
        return
    if connection.vendor == "sqlite":
        _store_sqlite(documents)
    else:
        _store_postgresql(documents)


def remove(message_ids: Iterable[int]) -> None:
    """Remove messages from the index. Deleting a message does so by itself."""
    key = "rowid" if connection.vendor == "sqlite" else "message_id"
    with connection.cursor() as cursor:
        for ids in batched(message_ids, 1_000):
            places = ", ".join(["%s"] * len(ids))
            cursor.execute(f"DELETE FROM {TABLE} WHERE {key} IN ({places})", list(ids))  # noqa: S608
    want_merge()


def want_merge() -> None:
    """Have the words of texts that were removed or replaced leave the index with the next merge."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT OR IGNORE INTO {TABLE}_merges VALUES ('wanted', 0)")  # noqa: S608


def merge_some(pages: int, *, every_s: float = MERGE_EVERY_S) -> bool:
    """Merge about so many pages of the index, if words were deleted; return whether there is more to do.

    A merge of everything takes 20 s of work for a million messages, so one begins each `every_s` at most.
    On PostgreSQL, autovacuum does this.
    """
    if connection.vendor != "sqlite":
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT state, at FROM {TABLE}_merges")  # noqa: S608
        states = dict(cursor.fetchall())
        is_new = "running" not in states
        if is_new and ("wanted" not in states or time.time() - states.get("begun", 0) < every_s):
            return False
        if is_new:
            cursor.execute(f"DELETE FROM {TABLE}_merges")  # noqa: S608
            for state in ("running", "begun"):
                cursor.execute(f"INSERT INTO {TABLE}_merges VALUES (%s, %s)", [state, time.time()])  # noqa: S608
        before = cursor.execute("SELECT total_changes()").fetchone()[0]
        # Negative: gather everything into one merge. FTS5 says by less than two changes that it is done.
        cursor.execute(
            f"INSERT INTO {TABLE} ({TABLE}, rank) VALUES ('merge', %s)",  # noqa: S608
            [-pages if is_new else pages],
        )
        after = cursor.execute("SELECT total_changes()").fetchone()[0]
        if is_new or after - before >= 2:
            return True
        cursor.execute(f"DELETE FROM {TABLE}_merges WHERE state = 'running'")  # noqa: S608
        return False


def _store_sqlite(documents: list[Document]) -> None:
    rows = [
        (
            document.message_id,
            " ".join(tokens_of(document.text[:INDEXED_MAX_CHARS])),
            " ".join(tokens_of(document.title)),
            scope_of(document.user_id, is_hidden=document.is_hidden),
        )
        for document in documents
    ]
    sql = f"INSERT OR REPLACE INTO {TABLE} (rowid, text, title, scope) VALUES (%s, %s, %s, %s)"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def _store_postgresql(documents: list[Document]) -> None:
    remove([document.message_id for document in documents])
    rows = [
        (document.message_id, part, vector)
        for document in documents
        for part, vector in enumerate(_vectors(document))
    ]
    with connection.cursor() as cursor:
        for some in batched(rows, 100):
            values = ", ".join(["(%s, %s, %s::tsvector)"] * len(some))
            sql = f"INSERT INTO {TABLE} (message_id, part, vector) VALUES {values}"  # noqa: S608
            cursor.execute(sql, [value for row in some for value in row])


def _vectors(document: Document) -> list[str]:
    """Return the tokens as texts of the type `tsvector`."""
    title = tokens_of(document.title)
    # The empty token keeps a phrase from beginning in the title and ending in the text.
    tokens = [*title, "", *tokens_of(document.text[:INDEXED_MAX_CHARS])]
    scope = f"'~{scope_of(document.user_id, is_hidden=document.is_hidden)}'"
    vectors = []
    for some in batched(tokens, TOKENS_PER_VECTOR):
        words = (f"'{token}':{at}" for at, token in enumerate(some, 1) if token)
        vectors.append(" ".join([scope, *words]))
    return vectors
