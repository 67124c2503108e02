"""Uploads become lines, or a list of what is wrong, line by line; then nothing is stored."""

import json
import zipfile

import pytest

from chat.batches import tables
from chat.batches.invalid_input import InputInvalid
from chat.batches.lines import LineSource
from chat.models import Batch, BatchLine
from tests.batches.support import stored, upload

API_LINE = {"custom_id": "a", "url": "/v1/chat/completions", "method": "POST"}
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "stream": True}


def problems_of(tmp_path, data, kind="csv", template="", **options):
    with pytest.raises(InputInvalid) as caught:
        LineSource(upload(tmp_path, data, kind), kind, template, **options).check()
    return [(problem.line, problem.text) for problem in caught.value.problems]


def workbook(path, rows):
    """Write a minimal XLSX file with texts and numbers."""
    cells = [
        "".join(
            f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
            if isinstance(cell, str)
            else f"<c><v>{cell}</v></c>"
            for cell in row
        )
        for row in rows
    ]
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            "</Types>",
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
            f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
            '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        rows_xml = "".join(f"<row>{each}</row>" for each in cells)
        file.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{main}"><sheetData>{rows_xml}</sheetData></worksheet>',
        )
    return path


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('name,text\nAda,One\nBob,"Two, and\nmore"\n', "csv"),
        ('name;text\r\nAda;One\r\nBob;"Two, and\nmore"\r\n\r\n', "csv"),
        ('\ufeffname\ttext\nAda\tOne\nBob\t"Two, and\nmore"', "tsv"),
        ('name,text\nAda,One\nBob,"Two, and\nmore"\n'.encode("utf-16"), "csv"),
        ('{"name": "Ada", "text": "One"}\n\n{"text": "Two, and\\nmore", "name": "Bob"}\n', "jsonl"),
    ],
)
def test_the_same_rows_in_each_format_become_the_same_lines(tmp_path, data, kind):
    source = LineSource(upload(tmp_path, data, kind), kind, "Hello {{ name }}: {{TEXT}}!")
    source.check()
    assert [(line.number, line.custom_id, line.prompt) for line in source.lines()] == [
        (1, "row-1", "Hello Ada: One!"),
        (2, "row-2", "Hello Bob: Two, and\nmore!"),
    ]
    assert source.table.columns == ["name", "text"]
    assert source.total == 2
    assert source.prompt_tokens > 2


def test_a_workbook_is_read_like_a_table(tmp_path):
    path = workbook(
        tmp_path / "upload.xlsx", [["name", "text", "n"], ["Ada", "One", 3], ["Bob", "=1+1", 2.5]]
    )
    source = LineSource(path, "xlsx", "{{text}} {{n}}")
    source.check()
    assert [line.prompt for line in source.lines()] == ["One 3", "=1+1 2.5"]


def test_a_broken_workbook_is_refused(tmp_path):
    assert "cannot be read" in problems_of(tmp_path, b"PK\x03\x04 no workbook", "xlsx")[0][1]


def test_each_pasted_line_is_a_prompt(tmp_path):
    source = LineSource(upload(tmp_path, "One\n\n  Two  \n", "txt"), "txt")
    source.check()
    assert [line.prompt for line in source.lines()] == ["One", "Two"]


@pytest.mark.parametrize(
    ("name", "columns", "prompt"),
    [("", ["a"], "1"), ("", ["id", "Question"], "2"), ("{{b}}", ["a", "b"], "2")],
)
def test_a_table_with_one_usual_column_needs_no_template(tmp_path, name, columns, prompt):
    data = ",".join(columns) + "\n" + ",".join("123"[: len(columns)]) + "\n"
    source = LineSource(upload(tmp_path, data), "csv", name)
    source.check()
    assert [line.prompt for line in source.lines()] == [prompt]


@pytest.mark.parametrize(
    ("data", "kind", "template", "expected"),
    [
        ("", "csv", "", (None, "no rows")),
        ("text\n\n", "csv", "", (None, "no rows below its first line")),
        ("", "jsonl", "", (None, "no rows")),
        ("a,b\n1,2\n", "csv", "", (None, "Write a template")),
        ("a,b\n1,2\n", "csv", "Hello", (None, "names no column")),
        ("a,b\n1,2\n", "csv", "{{c}}", (None, "There is no column “c”. The columns are: a, b.")),
        ("a,a\n1,2\n", "csv", "{{a}}", (1, "named twice")),
        ("a,,b\n1,2,3\n", "csv", "{{a}}", (1, "must name every column")),
        ("a,b\n1,2\n3,4,5\n", "csv", "{{a}}", (3, "has 3 cells")),
        ("a,b\n1,2\n ,4\n", "csv", "{{a}}", (3, "The prompt is empty")),
        ('a\n1\n"2\n', "csv", "", (3, "cannot be read")),
        (b"text\nok\n\xff\xfe\n", "csv", "", (3, "is not UTF-8")),
        (b"\xff\xfet\x00\n", "csv", "", (1, "is not valid UTF-16")),
        ('{"a": 1}\nnonsense\n', "jsonl", "", (2, "is not valid JSON")),
        ('{"a": 1}\n[1]\n', "jsonl", "", (2, "is not a JSON object")),
        ("text\n" + "x" * 60_000, "csv", "", (2, "has 60000 characters; the limit is 50000")),
    ],
)
def test_bad_input_is_reported_by_line(tmp_path, data, kind, template, expected):
    (line, text), *_rest = problems_of(tmp_path, data, kind, template)
    assert line == expected[0]
    assert expected[1] in text


def test_all_problems_are_reported_up_to_a_number(tmp_path):
    data = "a\n" + "1,2\n" * 50
    with pytest.raises(InputInvalid) as caught:
        LineSource(upload(tmp_path, data), "csv").check()
    assert [problem.line for problem in caught.value.problems] == list(range(2, 22))
    assert caught.value.further == 30
    assert "30 more lines" in caught.value.message


def test_too_many_rows_are_refused_where_the_limit_is_passed(tmp_path):
    assert problems_of(tmp_path, "a\n1\n2\n3\n", rows_max=2)[0][0] == 4


def test_lines_of_the_batch_api_are_taken_as_they_are(tmp_path):
    lines = [{**API_LINE, "custom_id": name, "body": BODY} for name in ("a", "b")]
    source = LineSource(upload(tmp_path, "\n".join(map(json.dumps, lines)), "jsonl"), "jsonl")
    source.check()
    found = list(source.lines())
    assert [line.custom_id for line in found] == ["a", "b"]
    assert found[0].request == {"messages": BODY["messages"], "parameters": {"temperature": 0}}
    assert source.models == {"m"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"custom_id": "a"}, "same custom_id as line 1: “a”"),
        ({"custom_id": ""}, "“custom_id” must have"),
        ({"custom_id": 3}, "custom_id"),
        ({"body": []}, "body"),
        ({"body": {"model": "m", "messages": []}}, "“body.messages”"),
        ({"body": {**BODY, "model": "other"}}, "must name the same model"),
        ({"method": "GET"}, "must be POST"),
        ({"url": "/v1/images"}, "“url”"),
    ],
)
def test_bad_lines_of_the_batch_api_are_reported(tmp_path, changes, text):
    lines = [{**API_LINE, "body": BODY}, {**API_LINE, "custom_id": "b", "body": BODY, **changes}]
    found = problems_of(tmp_path, "\n".join(map(json.dumps, lines)), "jsonl")
    assert found[0][0] == 2
    assert text in found[0][1]


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.CSV", b"x", "csv"),
        ("a.ndjson", b"{", "jsonl"),
        ("a.txt", b"PK\x03\x04", "xlsx"),
        ("a.tsv", b"", "tsv"),
    ],
)
def test_the_kind_of_a_file_is_its_ending_unless_it_is_a_workbook(name, head, kind):
    assert tables.kind_of(name, head) == kind


@pytest.mark.parametrize(
    ("name", "head"), [("a", b"x"), ("a.pdf", b"%PDF"), ("a.xlsx", b"x"), ("a.xls", b"\xd0\xcf\x11\xe0")]
)
def test_other_files_are_refused(name, head):
    with pytest.raises(InputInvalid):
        tables.kind_of(name, head)


@pytest.mark.django_db
def test_a_batch_is_stored_with_its_lines(tmp_path, user, model):
    batch = stored(
        tmp_path, user, model, "id,text\n7,One\n8,Two\n", template="Say {{text}}", system_prompt="Brief."
    )
    assert (batch.status, batch.total, batch.columns) == ("ready", 2, ["id", "text"])
    assert [line.cells for line in batch.lines.all()] == [["7", "One"], ["8", "Two"]]
    request = batch.request_of(batch.lines.get(number=2))
    assert [message["content"] for message in request.messages] == ["Brief.", "Say Two"]


@pytest.mark.django_db
def test_nothing_of_an_upload_with_a_problem_is_stored(tmp_path, user, model):
    with pytest.raises(InputInvalid):
        stored(tmp_path, user, model, "a\n1\n2,3\n")
    assert not Batch.objects.exists()
    assert not BatchLine.objects.exists()
