"""Columns whose longest texts are stored in slices, and are read as any other text.

To write a value, SQLite holds it several times in memory, each time as a whole. So the text of a very long
answer is stored in rows of its own, each in a short transaction. The transaction that ends the answer then
only writes a reference to these slices. Read through Django, the column gives the whole text.

Triggers delete the slices of a text when a shorter one replaces it, or its message is deleted. Others that
nothing refers to, such as those that were stored just before a crash, are deleted by cleanup.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import batched
from typing import Any
from uuid import uuid4

from django.db import connection, models

TABLE = "chat_text_slice"
# What one transaction of the writer stores. It takes a few milliseconds.
SLICE_CHARS = 128 * 1024
# One statement, so that all are of one moment; its rows are fetched in such parts.
SLICES_PER_READ = 16
# A reference is this character and the key of the slices. The character belongs to no text, but a user can
# write it: text that looks like a reference is one only if it has a key that exists, which no user can guess.
MARK = "\ufdd0"
KEY_CHARS = 32

_COLUMNS = ("text", "thinking")
_IS_SLICED = " OR ".join(f"substr(OLD.{name}, 1, 1) = '{MARK}'" for name in _COLUMNS)
# Slices that others replace stay for cleanup: a reader may have read the row just before.
_IS_REPLACED = " OR ".join(
    f"key = substr(OLD.{name}, 2, {KEY_CHARS}) AND substr(NEW.{name}, 1, 1) <> '{MARK}'" for name in _COLUMNS
)
_DELETE_REPLACED = f"DELETE FROM {TABLE} WHERE message_id = OLD.id AND ({_IS_REPLACED})"  # noqa: S608
_DELETE_ALL = f"DELETE FROM {TABLE} WHERE message_id = OLD.id"  # noqa: S608
_KEYS = ", ".join(f"substr(m.{name}, 2, {KEY_CHARS})" for name in _COLUMNS)
_IS_UNUSED = f"NOT EXISTS (SELECT 1 FROM chat_message m WHERE m.id = s.message_id AND s.key IN ({_KEYS}))"  # noqa: S608
_IS_RUNNING = (
    "EXISTS (SELECT 1 FROM chat_generation g WHERE g.message_id = s.message_id AND finished_at IS NULL)"
)
_SQLITE_TRIGGERS = (
    f"""CREATE TRIGGER IF NOT EXISTS {TABLE}_follows_changes AFTER UPDATE OF text, thinking ON chat_message
    WHEN {_IS_SLICED} BEGIN {_DELETE_REPLACED}; END""",
    f"""CREATE TRIGGER IF NOT EXISTS {TABLE}_follows_messages AFTER DELETE ON chat_message
    BEGIN {_DELETE_ALL}; END""",
)
_POSTGRESQL_TRIGGERS = (
    f"""CREATE OR REPLACE FUNCTION {TABLE}_follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN {_DELETE_ALL};
        ELSE {_DELETE_REPLACED}; END IF;
        RETURN NULL; END $$""",
    f"""CREATE OR REPLACE TRIGGER {TABLE}_follows_changes AFTER UPDATE OF text, thinking ON chat_message
        FOR EACH ROW WHEN ({_IS_SLICED}) EXECUTE FUNCTION {TABLE}_follow()""",
    f"""CREATE OR REPLACE TRIGGER {TABLE}_follows_messages AFTER DELETE ON chat_message
        FOR EACH ROW EXECUTE FUNCTION {TABLE}_follow()""",
)


@dataclass(frozen=True, slots=True)
class SlicedText:
    """A text whose slices are stored: their key and number, and the beginning of the text."""

    key: str
    slices: int
    start: str

    @property
    def reference(self) -> str:
        return MARK + self.key


def start_of(text: str | SlicedText) -> str:
    """Return a text, or the beginning of one that is stored in slices."""
    return text.start if isinstance(text, SlicedText) else text


class LongTextField(models.TextField):  # type: ignore[type-arg]
    """A column of `Message` that takes a text or a `SlicedText`, and gives the whole text."""

    def get_prep_value(self, value: Any) -> Any:
        return value.reference if isinstance(value, SlicedText) else super().get_prep_value(value)

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        return TextSlice.whole(value) if value and value[0] == MARK else value

    def deconstruct(self) -> Any:
        """For migrations it is a column of text: SQLite need not rebuild the table."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.TextField", arguments, options


class TextSlice(models.Model):
    """A part of a text of a message."""

    pk = models.CompositePrimaryKey("key", "position")
    key = models.CharField(max_length=KEY_CHARS)
    position = models.PositiveIntegerField()
    # No foreign key: triggers delete the slices of a message.
    message_id = models.BigIntegerField(db_index=True)
    text = models.TextField()

    class Meta:
        db_table = TABLE

    @classmethod
    def new_key(cls) -> str:
        return uuid4().hex

    @classmethod
    def check_complete(cls, text: str | SlicedText) -> None:
        """Raise RuntimeError if a slice is missing. In the transaction that refers to them."""
        if isinstance(text, SlicedText) and cls.objects.filter(key=text.key).count() != text.slices:
            raise RuntimeError("a slice of a text is missing")

    @classmethod
    def whole(cls, reference: str) -> str:
        """Return the text that a value of a `LongTextField` refers to; the value itself if it is a text."""
        rows = cls.objects.filter(key=reference[1:]).order_by("position").values_list("text", flat=True)
        # A list of slices and the text that they are joined to would need twice the memory.
        data = bytearray()
        for text in rows.iterator(chunk_size=SLICES_PER_READ):
            data += text.encode()
        return data.decode() or reference

    @classmethod
    def delete_unused(cls, message_ids: Iterable[int]) -> None:
        """Delete slices that were stored for these messages and that their rows do not refer to."""
        with connection.cursor() as cursor:
            for ids in batched(message_ids, 500):
                places = ", ".join(["%s"] * len(ids))
                cursor.execute(
                    f"DELETE FROM {TABLE} AS s WHERE message_id IN ({places}) AND {_IS_UNUSED}",  # noqa: S608
                    ids,
                )

    @classmethod
    def delete_abandoned(cls, limit: int) -> int:
        """Delete up to `limit` slices that no message refers to, and no answer in progress will."""
        with connection.cursor() as cursor:
            select = f"SELECT key, position FROM {TABLE} s WHERE {_IS_UNUSED} AND NOT {_IS_RUNNING} LIMIT %s"  # noqa: S608
            cursor.execute(select, [limit])
            found = cursor.fetchall()
            delete = f"DELETE FROM {TABLE} WHERE key = %s AND position = %s"  # noqa: S608
            cursor.executemany(delete, found)
        return len(found)


def create_triggers() -> None:
    """Create what is missing of the triggers."""
    with connection.cursor() as cursor:
        for statement in _SQLITE_TRIGGERS if connection.vendor == "sqlite" else _POSTGRESQL_TRIGGERS:
            cursor.execute(statement)


def drop_triggers() -> None:
    """Drop the triggers, before the table of slices is dropped."""
    table = "" if connection.vendor == "sqlite" else " ON chat_message"
    with connection.cursor() as cursor:
        for name in ("changes", "messages"):
            cursor.execute(f"DROP TRIGGER IF EXISTS {TABLE}_follows_{name}{table}")
