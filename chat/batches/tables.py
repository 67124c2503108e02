"""Read an upload row by row: pasted text, CSV, TSV, JSONL or XLSX. Nothing is kept in memory.

A file is read twice: once to check it, once to store it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec
from django.utils.translation import gettext as _

from chat.batches import sheets
from chat.batches.invalid_input import invalid
from chat.text import clean, clean_json

COLUMNS_MAX = 200
# The name of the column of pasted prompts.
PROMPT = "prompt"
# A cell of a CSV file. A quote that is never closed would otherwise make one cell of the rest.
CELL_MAX_CHARS = 1_000_000
KINDS = ("csv", "tsv", "jsonl", "xlsx", "txt")


@dataclass(frozen=True, slots=True)
class UploadedRow:
    """One row. `line`: where it begins in the file. `body`: of a line in the format of the batch API."""

    line: int
    cells: list[str]
    custom_id: str = ""
    url: str = ""
    body: dict[str, Any] | None = None
    # What is wrong with it. The rows after it can be read.
    problem: str = ""


@dataclass(slots=True)
class Table:
    """`columns` are known once the first row was read, and complete once the last one was."""

    columns: list[str] = field(default_factory=list)
    is_api: bool = False


class TableReader(Protocol):
    def __call__(self, path: Path, table: Table) -> Generator[UploadedRow]: ...


def read(path: Path, kind: str, table: Table) -> Generator[UploadedRow]:
    """Yield the rows of a file. `kind`: one of KINDS. Raises InputInvalid where it cannot be read on."""
    return _READERS[kind](path, table)


def kind_of(name: str, head: bytes) -> str:
    """Return the kind of a file by its name's ending and its first bytes. Raises InputInvalid."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if head.startswith(b"PK\x03\x04"):
        ending = "xlsx"
    elif ending == "xlsx" or head.startswith(b"\xd0\xcf\x11\xe0"):
        raise invalid(_("This is not an XLSX file. Save it again as an Excel workbook, or as CSV."))
    if ending == "ndjson":
        ending = "jsonl"
    if ending not in KINDS:
        raise invalid(_("Upload a file that ends in .csv, .tsv, .jsonl, .xlsx or .txt."))
    return ending


def _lines(path: Path) -> Generator[tuple[int, str]]:
    """Yield the lines of a text with their numbers: UTF-8, or UTF-16 with a byte order mark."""
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(0)
        if head in (b"\xff\xfe", b"\xfe\xff"):
            yield from _utf16_lines(file)
            return
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                text = _("is not UTF-8. Save the file as “CSV UTF-8”, or with the encoding UTF-8.")
                raise invalid(text, number) from None
            yield number, clean(line)


def _utf16_lines(file: io.BufferedReader) -> Generator[tuple[int, str]]:
    number = 0
    with io.TextIOWrapper(file, "utf-16", newline="\n") as text:
        try:
            for number, line in enumerate(text, 1):
                yield number, clean(line)
        except UnicodeError:
            raise invalid(
                _("is not valid UTF-16. Save the file with the encoding UTF-8."), number + 1
            ) from None


def _read_prompts(path: Path, table: Table) -> Generator[UploadedRow]:
    table.columns = [PROMPT]
    for number, line in _lines(path):
        if line.strip():
            yield UploadedRow(number, [line.strip()])


def _read_csv(path: Path, table: Table) -> Generator[UploadedRow]:
    return _read_delimited(path, table, None)


def _read_tsv(path: Path, table: Table) -> Generator[UploadedRow]:
    return _read_delimited(path, table, "\t")


def _read_delimited(path: Path, table: Table, delimiter: str | None) -> Generator[UploadedRow]:
    with closing(_lines(path)) as numbered:
        first = next(numbered, (1, ""))[1]
    delimiter = delimiter or max(",;\t", key=first.count)
    csv.field_size_limit(CELL_MAX_CHARS)
    with closing(_lines(path)) as numbered:
        reader = csv.reader((line for _number, line in numbered), delimiter=delimiter, strict=True)
        begins = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise invalid(_("cannot be read: %(error)s.") % {"error": error}, begins) from error
            row = _row_of(begins, cells, table)
            begins = reader.line_num + 1
            if row is not None:
                yield row


def _row_of(line: int, cells: list[str], table: Table) -> UploadedRow | None:
    """Return a row; None for the header and for empty rows."""
    if not any(cell.strip() for cell in cells):
        return None
    if not table.columns:
        table.columns = _header(line, cells)
        return None
    width = len(table.columns)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) > width:
        places = {"cells": len(cells), "columns": width}
        text = _("has %(cells)d cells, but the first line names %(columns)d columns.") % places
        return UploadedRow(line, cells[:width], problem=text)
    return UploadedRow(line, cells + [""] * (width - len(cells)))


def _header(line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if len(names) > COLUMNS_MAX:
        raise invalid(_("has more than %(limit)d columns.") % {"limit": COLUMNS_MAX}, line)
    if "" in names:
        raise invalid(_("The first line must name every column."), line)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise invalid(_("The column “%(name)s” is named twice.") % {"name": twice[:80]}, line)
    return names


def _read_sheet(path: Path, table: Table) -> Generator[UploadedRow]:
    for line, cells in sheets.rows(path):
        row = _row_of(line, [clean(cell) for cell in cells], table)
        if row is not None:
            yield row


class _ApiLine(msgspec.Struct, frozen=True):
    custom_id: str
    body: dict[str, Any]
    url: str = "/v1/chat/completions"
    method: str = "POST"


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(_ApiLine)


def _read_jsonl(path: Path, table: Table) -> Generator[UploadedRow]:
    places: dict[str, int] = {name: place for place, name in enumerate(table.columns)}
    is_first = True
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line.encode())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield UploadedRow(number, [], problem=_("is not valid JSON: %(error)s.") % {"error": error})
            continue
        if not isinstance(value, dict):
            yield UploadedRow(number, [], problem=_("is not a JSON object."))
            continue
        if is_first:
            table.is_api, is_first = "body" in value and "custom_id" in value, False
        yield _api_row(number, value) if table.is_api else _object_row(number, value, table, places)


def _object_row(number: int, value: dict[str, Any], table: Table, places: dict[str, int]) -> UploadedRow:
    for name in value:
        if name not in places:
            if len(places) >= COLUMNS_MAX:
                return UploadedRow(
                    number, [], problem=_("has more than %(limit)d keys.") % {"limit": COLUMNS_MAX}
                )
            places[name] = len(places)
            table.columns.append(clean(name))
    cells = [""] * len(places)
    for name, each in value.items():
        cells[places[name]] = each if isinstance(each, str) else _as_text(each)
    return UploadedRow(number, [clean(cell) for cell in cells])


def _as_text(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def _api_row(number: int, value: dict[str, Any]) -> UploadedRow:
    try:
        line = msgspec.convert(value, _ApiLine)
    except msgspec.ValidationError as error:
        return UploadedRow(number, [], problem=f"{error}.")
    if line.method != "POST":
        return UploadedRow(number, [], problem=_("“method” must be POST."))
    return UploadedRow(number, [], clean(line.custom_id), line.url, clean_json(line.body))


_READERS: dict[str, TableReader] = {
    "csv": _read_csv,
    "tsv": _read_tsv,
    "jsonl": _read_jsonl,
    "xlsx": _read_sheet,
    "txt": _read_prompts,
}
