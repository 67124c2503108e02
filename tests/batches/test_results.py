"""Results as files: the original columns with the answers; no cell becomes a formula."""

import csv
import io
import json

import pytest
from django.utils import timezone

from chat.batches import feeding, results, sheets
from chat.models import Generation, Message
from tests.batches.support import stored

pytestmark = pytest.mark.django_db

HOSTILE = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture
def batch(tmp_path, user, model):
    batch = stored(
        tmp_path,
        user,
        model,
        f'id,answer\n-5,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n2,b\n',
        template="{{answer}}",
    )
    batch.start()
    feeding.feed(batch.pk)
    line = batch.lines.get(number=1)
    Message.objects.filter(generations=line.generation).update(text="@SUM(1)\x0b & <b>")
    Generation.objects.filter(pk=line.generation_id).update(
        status="completed", finished_at=timezone.now(), input_tokens=3, output_tokens=4, cost_usd="0.5"
    )
    feeding.end_lines(batch.pk)
    return batch


def written(batch, kind):
    file = io.BytesIO()
    results.write(batch, kind, file)
    return file.getvalue()


HEADER = ["id", "answer", "answer_", "state", "reason", "input_tokens", "output_tokens", "cost_usd"]


def test_csv_has_the_original_columns_and_no_formula(batch):
    rows = list(csv.reader(io.StringIO(written(batch, "csv").decode("utf-8-sig"))))
    assert rows == [
        HEADER,
        ["-5", f"'{HOSTILE}", "'@SUM(1)\x0b & <b>", "completed", "", "3", "4", "0.500000"],
        ["2", "b", "", "running", "", "", "", ""],
    ]


def test_jsonl_has_the_values_as_they_are(batch):
    first = json.loads(written(batch, "jsonl").splitlines()[0])
    assert first["answer"] == HOSTILE
    assert first["answer_"] == "@SUM(1)\x0b & <b>"


def test_a_workbook_has_texts_only(batch, tmp_path):
    path = tmp_path / "results.xlsx"
    path.write_bytes(written(batch, "xlsx"))
    assert b"<f>" not in path.read_bytes()
    rows = [cells for _number, cells in sheets.rows(path)]
    assert rows[0] == HEADER
    assert rows[1][:4] == ["-5", HOSTILE, "@SUM(1)\ufffd & <b>", "completed"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("-1.5", "-1.5"), ("+1e3", "+1e3"), ("-a", "'-a"), ("\t=1", "'\t=1"), ("a=1", "a=1")],
)
def test_numbers_stay_numbers(cell, expected):
    assert results.inert(cell) == expected


def test_a_workbook_says_where_it_cut_a_text(batch, tmp_path):
    answered = batch.lines.exclude(generation=None).first()
    Message.objects.filter(pk=answered.generation.message_id).update(text="a" * 40_000)
    path = tmp_path / "results.xlsx"
    path.write_bytes(written(batch, "xlsx"))
    [cell] = [cell for _number, cells in sheets.rows(path) for cell in cells if len(cell) > 10_000]
    assert len(cell) == results.CELL_MAX_CHARS
    assert "[cut: a cell of a workbook has 32767 characters at most" in cell
