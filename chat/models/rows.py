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
EMPTY: Mapping[str, Any] = MappingProxyType({})


def insert[Row: models.Model](row: Row) -> Row:
    """Insert a new row, set its primary key, and return it. Raises IntegrityError, as `save` does."""
    sql, fields, returned = _insert_sql(type(row))
    values = [_value(row, field) for field in fields]
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
    by_name = {field.attname: field for field in model._meta.local_concrete_fields}
    fields = [by_name[name] for name in (*names, *same)]
    columns = ", ".join(_quoted(field.column) for field in fields)
    sql = (
        f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"  # noqa: S608
    )
    prepared = [_prepared(by_name[name], value) for name, value in same.items()]
    varying = fields[: len(names)]
    with connection.cursor() as cursor:
        cursor.executemany(sql, [[*map(_prepared, varying, row), *prepared] for row in values])


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
    sql, fields = _update_sql(model, tuple(values), tuple(required), nulls)
    parameters = [
        _prepared(field, value)
        for field, value in zip(fields, [*values.values(), key, *required.values()], strict=True)
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


def pairs(
    model: type[models.Model], names: tuple[str, str], condition: str, parameters: Sequence[Any]
) -> list[tuple[Any, Any]]:
    """Return two columns, numbers or texts, of the rows for which the SQL after WHERE holds."""
    columns = ", ".join(_quoted(_field(model, name).column) for name in names)
    sql = f"SELECT {columns} FROM {_quoted(model._meta.db_table)} WHERE {condition}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def one_of(values: Sequence[Any]) -> str:
    """Return the SQL after IN for so many parameters. There must be one at least."""
    return f"({', '.join(['%s'] * len(values))})"


def prepared(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value of an attribute as the database has it."""
    return _prepared(_field(model, name), value)


def _search(
    model: type[models.Model], values: Mapping[str, Any], *, keys_only: bool
) -> tuple[str, list[Any]]:
    """Return the statement that finds one row, and its parameters."""
    nulls = tuple(name for name, value in values.items() if value is None)
    required = [(name, value) for name, value in values.items() if value is not None]
    sql, fields = _find_sql(model, tuple(name for name, _ in required), nulls, keys_only=keys_only)
    return sql, [_prepared(field, value) for field, (_, value) in zip(fields, required, strict=True)]


def _instance[Row: models.Model](model: type[Row], found: Sequence[Any]) -> Row:
    names, converters = _columns(model)
    values = list(found)
    for index, column, converts in converters:
        for convert in converts:
            values[index] = convert(values[index], column, connection)
    return model.from_db(connection.alias, names, values)


def _value(row: models.Model, field: AnyField) -> Any:
    """Return the value of a new row's field; a default that only the database knows is set as well."""
    value = field.pre_save(row, add=True)
    if isinstance(value, DatabaseDefault):
        value = field.db_default
        setattr(row, field.attname, value)
    return _prepared(field, value)


def _prepared(field: AnyField, value: Any) -> Any:
    return field.get_db_prep_save(value, connection)


@cache
def _insert_sql(
    model: type[models.Model],
) -> tuple[str, tuple[AnyField, ...], AnyField | None]:
    """Return the statement, the fields of its values, and the field that it returns: an automatic key."""
    key = _key_of(model)
    returned = key if isinstance(key, models.AutoField) else None
    fields = tuple(field for field in model._meta.local_concrete_fields if field is not returned)
    columns = ", ".join(_quoted(field.column) for field in fields)
    sql = (
        f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"  # noqa: S608
    )
    return sql + (f" RETURNING {_quoted(returned.column)}" if returned else ""), fields, returned


@cache
def _update_sql(
    model: type[models.Model], names: tuple[str, ...], required: tuple[str, ...], nulls: tuple[str, ...]
) -> tuple[str, tuple[AnyField, ...]]:
    """Return the statement, and the fields of its values: the changed ones, the key, the required ones."""
    by_name = {field.attname: field for field in model._meta.local_concrete_fields}
    key = _key_of(model)
    conditions = [f"{_quoted(field.column)} = %s" for field in (key, *(by_name[name] for name in required))]
    conditions += [f"{_quoted(by_name[name].column)} IS NULL" for name in nulls]
    changes = ", ".join(f"{_quoted(by_name[name].column)} = %s" for name in names)
    sql = f"UPDATE {_quoted(model._meta.db_table)} SET {changes} WHERE {' AND '.join(conditions)}"  # noqa: S608
    return sql, (*(by_name[name] for name in names), key, *(by_name[name] for name in required))


@cache
def _find_sql(
    model: type[models.Model], names: tuple[str, ...], nulls: tuple[str, ...], *, keys_only: bool
) -> tuple[str, tuple[AnyField, ...]]:
    """Return the statement, and the fields of its values."""
    by_name = {field.attname: field for field in model._meta.local_concrete_fields}
    fields = tuple(by_name[name] for name in names)
    conditions = [f"{_quoted(field.column)} = %s" for field in fields]
    conditions += [f"{_quoted(by_name[name].column)} IS NULL" for name in nulls]
    key, table = _quoted(_key_of(model).column), _quoted(model._meta.db_table)
    start = f"SELECT {key} FROM {table} WHERE " if keys_only else _select_sql(model)  # noqa: S608
    return f"{start}{' AND '.join(conditions)} LIMIT 1", fields


@cache
def _select_sql(model: type[models.Model]) -> str:
    """Return a statement that reads whole rows, up to its condition."""
    columns = ", ".join(_quoted(field.column) for field in model._meta.local_concrete_fields)
    return f"SELECT {columns} FROM {_quoted(model._meta.db_table)} WHERE "  # noqa: S608


@cache
def _columns(model: type[models.Model]) -> tuple[list[str], list[tuple[int, Any, list[Any]]]]:
    """Return the attributes of a row, and for those whose values the ORM converts: index, column, how."""
    fields = model._meta.local_concrete_fields
    columns = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (index, column, converts)
        for index, column in enumerate(columns)
        if (converts := [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)])
    ]
    return [field.attname for field in fields], converters


@cache
def _field(model: type[models.Model], name: str) -> AnyField:
    return next(field for field in model._meta.local_concrete_fields if field.attname == name)


def _key_of(model: type[models.Model]) -> AnyField:
    assert model._meta.pk is not None
    return model._meta.pk


def _quoted(name: str | None) -> str:
    assert name is not None
    return connection.ops.quote_name(name)
