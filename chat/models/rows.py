"""Insert, update, find and read rows with SQL that is put together once.

The ORM builds each statement anew, which takes several times as long as the database needs to run it. On the
way of every answer these are used instead. They send no signals and call no `save`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault

type AnyField = models.Field[Any, Any]

NUMBER_MAX = 2**63 - 1
# Types that these fields store unchanged. Ranges need no check here: the database refuses what does not fit.
_STORED_TYPES: Mapping[type, type] = {
    models.CharField: str,
    models.TextField: str,
    models.BooleanField: bool,
    models.FloatField: float,
    **dict.fromkeys((models.AutoField, models.BigAutoField, models.IntegerField), int),
    **dict.fromkeys((models.PositiveIntegerField, models.PositiveSmallIntegerField), int),
}
EMPTY: Mapping[str, Any] = MappingProxyType({})


def insert[Row: models.Model](row: Row) -> Row:
    """Insert a new row, set its primary key, and return it. Raises IntegrityError, as `save` does."""
    sql, columns, returned = _insert_sql(type(row))
    values = [column.value_of(row) for column in columns]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        if returned is not None:
            setattr(row, returned.attname, cursor.fetchone()[0])
    row._state.adding = False
    row._state.db = connection.alias
    return row


def insert_many(
    model: type[models.Model],
    names: Sequence[str],
    values: Iterable[Sequence[Any]],
    same: Mapping[str, Any] = EMPTY,
) -> None:
    """Insert rows with these values of their attributes `names`, and what is the `same` for all of them."""
    by_name = _columns(model)
    columns = [by_name[name] for name in (*names, *same)]
    prepared = [by_name[name].prepared(value) for name, value in same.items()]
    varying = columns[: len(names)]
    with connection.cursor() as cursor:
        cursor.executemany(
            _insertion(model, columns),
            [
                [*(column.prepared(value) for column, value in zip(varying, row, strict=True)), *prepared]
                for row in values
            ],
        )


def update(
    model: type[models.Model],
    key: Any,
    values: Mapping[str, Any],
    *,
    guards: Mapping[str, Any] = EMPTY,
) -> bool:
    """Write values to the row with this primary key. Return whether it was found.

    `guards`: what the row must still have; None: NULL. Names are those of attributes, such as `leaf_id`.
    """
    nulls = tuple(name for name, value in guards.items() if value is None)
    required = {name: value for name, value in guards.items() if value is not None}
    sql, columns = _update_sql(model, tuple(values), tuple(required), nulls)
    parameters = [
        column.prepared(value)
        for column, value in zip(columns, [*values.values(), key, *required.values()], strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return bool(cursor.rowcount)


def find(model: type[models.Model], **values: Any) -> Any:
    """Return the primary key of a row with these values of its attributes (None: NULL), or None."""
    with connection.cursor() as cursor:
        cursor.execute(*_search(model, values, keys_only=True))
        found = cursor.fetchone()
        return None if found is None else _key_of(model).to_python(found[0])


def get[Row: models.Model](model: type[Row], **values: Any) -> Row | None:
    """Return a row with these values of its attributes (None: NULL), or None.

    Raises what the fields raise for values that are none of theirs: ValidationError, ValueError.
    """
    if any(isinstance(value, int) and value > NUMBER_MAX for value in values.values()):
        return None  # no column holds it, and a database would refuse the question
    with connection.cursor() as cursor:
        cursor.execute(*_search(model, values, keys_only=False))
        found = cursor.fetchone()
        return None if found is None else _instance(model, found)


def select[Row: models.Model](model: type[Row], condition: str, parameters: Sequence[Any]) -> list[Row]:
    """Return the rows for which the SQL after WHERE holds; `condition` may also order and limit them.

    `parameters` are values of the database, such as numbers and texts.
    """
    with connection.cursor() as cursor:
        cursor.execute(_select_sql(model) + condition, parameters)
        return [_instance(model, found) for found in cursor.fetchall()]


def first_of_both[Row: models.Model, Joined: models.Model](
    model: type[Row], joined: type[Joined], condition: str, parameters: Sequence[Any]
) -> tuple[Row, Joined] | None:
    """Return the first pair of rows of two tables for which the SQL after WHERE holds, or None."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_select_both_sql(model, joined)}{condition} LIMIT 1", parameters)
        found = cursor.fetchone()
    if found is None:
        return None
    count = len(_columns(model))
    return _instance(model, found[:count]), _instance(joined, found[count:])


def pairs(
    model: type[models.Model], names: tuple[str, str], condition: str, parameters: Sequence[Any]
) -> list[tuple[Any, Any]]:
    """Return two columns, numbers or texts, of the rows for which the SQL after WHERE holds."""
    columns = ", ".join(_columns(model)[name].quoted for name in names)
    sql = f"SELECT {columns} FROM {_table(model)} WHERE {condition}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def one_of(values: Sequence[Any]) -> str:
    """Return the SQL after IN for so many parameters. There must be one at least."""
    return f"({', '.join(['%s'] * len(values))})"


def prepared(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value of an attribute as the database has it."""
    return _columns(model)[name].prepared(value)


def _search(
    model: type[models.Model], values: Mapping[str, Any], *, keys_only: bool
) -> tuple[str, list[Any]]:
    """Return the statement that finds one row, and its parameters."""
    nulls = tuple(name for name, value in values.items() if value is None)
    required = [(name, value) for name, value in values.items() if value is not None]
    sql, columns = _find_sql(model, tuple(name for name, _ in required), nulls, keys_only=keys_only)
    return sql, [column.prepared(value) for column, (_, value) in zip(columns, required, strict=True)]


def _instance[Row: models.Model](model: type[Row], found: Sequence[Any]) -> Row:
    names, converters = _converters(model)
    values = list(found)
    for index, column, converts in converters:
        for convert in converts:
            values[index] = convert(values[index], column, connection)
    return model.from_db(connection.alias, names, values)


class _Column:
    """A column, and how it stores the values of its attribute."""

    __slots__ = ("_field", "_stored_type", "name", "quoted")

    def __init__(self, field: AnyField) -> None:
        self._field = field
        self.name = field.attname
        self.quoted = _quoted(field.column)
        kind = type(field.target_field if isinstance(field, models.ForeignKey) else field)
        # The type of values that are stored as they are. To ask the field takes longer than storing them.
        self._stored_type = _STORED_TYPES.get(kind)

    def value_of(self, row: models.Model) -> Any:
        """Return what is stored of a new row; a default that only the database knows is set as well."""
        value = getattr(row, self.name)
        if isinstance(value, DatabaseDefault):
            value = self._field.db_default
            setattr(row, self.name, value)
        return self.prepared(value)

    def prepared(self, value: Any) -> Any:
        """Return a value as it is stored."""
        if value is None or type(value) is self._stored_type:
            return value
        return self._field.get_db_prep_save(value, connection)


@cache
def _columns(model: type[models.Model]) -> dict[str, _Column]:
    """Return the columns of a table by the names of their attributes."""
    return {field.attname: _Column(field) for field in model._meta.local_concrete_fields}


@cache
def _insert_sql(model: type[models.Model]) -> tuple[str, tuple[_Column, ...], AnyField | None]:
    """Return the statement, the columns of its values, and the field that it returns: an automatic key."""
    key = _key_of(model)
    returned = key if isinstance(key, models.AutoField) else None
    columns = tuple(
        column for name, column in _columns(model).items() if returned is None or name != returned.attname
    )
    sql = _insertion(model, columns)
    return sql + (f" RETURNING {_quoted(returned.column)}" if returned else ""), columns, returned


def _insertion(model: type[models.Model], columns: Sequence[_Column]) -> str:
    names = ", ".join(column.quoted for column in columns)
    return f"INSERT INTO {_table(model)} ({names}) VALUES ({', '.join(['%s'] * len(columns))})"  # noqa: S608


@cache
def _update_sql(
    model: type[models.Model], names: tuple[str, ...], required: tuple[str, ...], nulls: tuple[str, ...]
) -> tuple[str, tuple[_Column, ...]]:
    """Return the statement, and the columns of its values: the changed ones, the key, the required ones."""
    columns = _columns(model)
    key = columns[_key_of(model).attname]
    conditions = [f"{column.quoted} = %s" for column in (key, *(columns[name] for name in required))]
    conditions += [f"{columns[name].quoted} IS NULL" for name in nulls]
    changes = ", ".join(f"{columns[name].quoted} = %s" for name in names)
    sql = f"UPDATE {_table(model)} SET {changes} WHERE {' AND '.join(conditions)}"  # noqa: S608
    return sql, (*(columns[name] for name in names), key, *(columns[name] for name in required))


@cache
def _find_sql(
    model: type[models.Model], names: tuple[str, ...], nulls: tuple[str, ...], *, keys_only: bool
) -> tuple[str, tuple[_Column, ...]]:
    """Return the statement, and the columns of its values."""
    columns = _columns(model)
    wanted = tuple(columns[name] for name in names)
    conditions = [f"{column.quoted} = %s" for column in wanted]
    conditions += [f"{columns[name].quoted} IS NULL" for name in nulls]
    key, table = _quoted(_key_of(model).column), _table(model)
    start = f"SELECT {key} FROM {table} WHERE " if keys_only else _select_sql(model)  # noqa: S608
    return f"{start}{' AND '.join(conditions)} LIMIT 1", wanted


@cache
def _select_sql(model: type[models.Model]) -> str:
    """Return a statement that reads whole rows, up to its condition."""
    columns = ", ".join(column.quoted for column in _columns(model).values())
    return f"SELECT {columns} FROM {_table(model)} WHERE "  # noqa: S608


@cache
def _select_both_sql(model: type[models.Model], joined: type[models.Model]) -> str:
    """Return a statement that reads whole rows of two tables, up to its condition."""
    columns = [
        f"{_table(each)}.{column.quoted}" for each in (model, joined) for column in _columns(each).values()
    ]
    return f"SELECT {', '.join(columns)} FROM {_table(model)}, {_table(joined)} WHERE "  # noqa: S608


@cache
def _converters(model: type[models.Model]) -> tuple[list[str], list[tuple[int, Any, list[Any]]]]:
    """Return the attributes of a row, and for those whose values the ORM converts: index, column, how."""
    fields = model._meta.local_concrete_fields
    columns = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (index, column, converts)
        for index, column in enumerate(columns)
        if (converts := [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)])
    ]
    return [field.attname for field in fields], converters


def _table(model: type[models.Model]) -> str:
    return _quoted(model._meta.db_table)


def _key_of(model: type[models.Model]) -> AnyField:
    assert model._meta.pk is not None
    return model._meta.pk


def _quoted(name: str | None) -> str:
    assert name is not None
    return connection.ops.quote_name(name)
