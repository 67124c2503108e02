"""`manage.py batch`: piped and scripted."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.batches import feeding
from chat.models import Batch, Generation, Message

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = io.StringIO()
    code = 0
    try:
        call_command("batch", *arguments, stdout=out)
    except SystemExit as end:
        code = end.code
    return code, out.getvalue().strip()


@pytest.fixture
def submitted(tmp_path, user, model):
    """Submit two rows, and return the id."""
    path = tmp_path / "questions.csv"
    path.write_text("text\none\ntwo\n")
    code, id = run("submit", str(path), "--template", "Say {{text}}", "--user", user.username)
    assert code == 0
    return id


def answer_all():
    batch = Batch.objects.get()
    feeding.feed(batch.pk)
    Message.objects.filter(generations__source="batch").update(text="said")
    Generation.objects.update(status="completed", finished_at=timezone.now())
    feeding.end_lines(batch.pk)
    feeding.feed(batch.pk)


def test_a_file_is_submitted_followed_and_fetched(submitted, tmp_path):
    assert run("status")[1].startswith(submitted)
    assert run("status", submitted) == (0, "in_progress: 0 of 2 completed, 0 failed")
    answer_all()
    code, text = run("status", submitted, "--json", "--wait")
    assert (code, json.loads(text)["status"], json.loads(text)["completed"]) == (0, "completed", 2)
    path = tmp_path / "out.jsonl"
    assert run("fetch", submitted, "--output", str(path))[0] == 0
    assert [json.loads(line)["answer"] for line in path.read_text().splitlines()] == ["said", "said"]


def test_partial_results_have_an_exit_code_of_their_own(submitted, tmp_path):
    assert run("fetch", submitted, "--output", str(tmp_path / "out"))[0] == 5
    assert run("cancel", submitted) == (0, "cancelling: 0 of 2 completed, 0 failed")
    feeding.cancel_lines(Batch.objects.get().pk)
    feeding.feed(Batch.objects.get().pk)
    assert run("fetch", submitted, "--output", str(tmp_path / "out"))[0] == 6


@pytest.mark.parametrize(
    ("name", "data", "options", "text"),
    [
        ("a.csv", "a,b\n1,2,3\n", ["--template", "{{a}}"], "Line 2: has 3 cells"),
        ("a.pdf", "%PDF", [], "Upload a file that ends in"),
        ("a.csv", "a\n1\n", ["--model", "unknown"], "There is no model"),
    ],
)
def test_a_bad_upload_is_reported_and_nothing_is_stored(tmp_path, user, model, name, data, options, text):
    path = tmp_path / name
    path.write_text(data)
    with pytest.raises(CommandError, match=text):
        call_command("batch", "submit", str(path), "--user", user.username, *options)
    assert not Batch.objects.exists()


@pytest.mark.parametrize("id", ["nonsense", "batch_" + "0" * 32])
def test_an_unknown_id_is_reported(id):
    with pytest.raises(CommandError, match="There is no batch"):
        call_command("batch", "status", id)
