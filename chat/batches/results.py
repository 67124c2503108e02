"""The results of a batch as a file: CSV, JSONL or XLSX, with the original columns."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO
from xml.sax.saxutils import escape

import msgspec
from django.utils.translation import gettext as _

from chat.batches.sheet_parts import NOT_IN_XML, PARTS, SHEET_END, SHEET_START
from chat.models.batch import Batch
from chat.models.batch_line import BatchLine
from chat.text import inert_cell

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
ADDED = ("answer", "state", "reason", "input_tokens", "output_tokens", "cost_usd")
ROWS_AT_ONCE = 500
# The longest text of a cell in a workbook.
CELL_MAX_CHARS = 32_767


def write(batch: Batch, kind: str, file: IO[bytes]) -> None:
    """Write all lines, in their order, whatever their state. `kind`: a key of FORMATS."""
    names, rows = header(batch), result_rows(batch)
    if kind == "xlsx":
        _write_sheet(file, names, rows)
    elif kind == "jsonl":
        for row in rows:
            file.write(msgspec.json.encode(dict(zip(names, row, strict=True))) + b"\n")
    else:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        # With a byte order mark, spreadsheets read it as UTF-8.
        text.write("\ufeff")
        writer = csv.writer(text)
        writer.writerow(map(inert, names))
        writer.writerows([inert(cell) for cell in row] for row in rows)
        text.detach()


def header(batch: Batch) -> list[str]:
    """Return the names of the columns, each once."""
    names = list(batch.columns) or ["custom_id"]
    for name in ADDED:
        while name in names:
            name += "_"
        names.append(name)
    return names


def result_rows(batch: Batch) -> Iterator[list[str]]:
    """Yield the rows, some at a time from the database."""
    last = 0
    while lines := list(_lines_after(batch, last)):
        for line in lines:
            yield _row(batch, line)
        last = lines[-1].number


def _lines_after(batch: Batch, number: int) -> Iterable[BatchLine]:
    lines = batch.lines.filter(number__gt=number).order_by("number")
    return lines.select_related("generation__message").defer("prompt", "request", "generation__request")[
        :ROWS_AT_ONCE
    ]


def _row(batch: Batch, line: BatchLine) -> list[str]:
    cells = list(line.cells)[: len(batch.columns)] if batch.columns else [line.custom_id]
    cells += [""] * (len(batch.columns) - len(cells))
    generation = line.generation
    answer = generation.message.text if generation is not None else ""
    numbers = (
        (generation.input_tokens, generation.output_tokens, generation.cost_usd)
        if generation is not None
        else (None, None, None)
    )
    return [*cells, answer, line.state, line.reason, *("" if n is None else str(n) for n in numbers)]


def inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula. Numbers stay as they are."""
    try:
        float(cell)
    except ValueError:
        protected: str = inert_cell(cell)
        return protected
    return cell


def _write_sheet(file: IO[bytes], names: Sequence[str], rows: Iterator[list[str]]) -> None:
    """Write a workbook. Every cell is a text, which no program takes for a formula."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in PARTS.items():
            archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(SHEET_START)
            sheet.write(_sheet_row(names))
            for row in rows:
                sheet.write(_sheet_row(row))
            sheet.write(SHEET_END)


def _fitting(cell: str) -> str:
    """Return a cell as long as a workbook takes it. One that was cut says so."""
    if len(cell) <= CELL_MAX_CHARS:
        return cell
    note = _(" … [cut: a cell of a workbook has %(limit)d characters at most; CSV and JSONL have all]")
    note %= {"limit": CELL_MAX_CHARS}
    return cell[: CELL_MAX_CHARS - len(note)] + note


def _sheet_row(cells: Sequence[str]) -> bytes:
    texts = (escape(NOT_IN_XML.sub("\ufffd", _fitting(cell))) for cell in cells)
    written = "".join(f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>' for text in texts)
    return f"<row>{written}</row>".encode()
