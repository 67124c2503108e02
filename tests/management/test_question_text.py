"""The text of a question: from an argument, a file or the standard input."""

import os
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from chat.management.ask import stdin
from chat.management.ask.stdin import MAX_BYTES, read_question
from chat.management.exits import Exit


def question_of(argument, file=None, timeout_s=5):
    return read_question(argument, file, timeout_s=timeout_s, warn=pytest.fail)


@pytest.fixture
def piped(monkeypatch, tmp_path):
    """Return a function that makes bytes the standard input, as `<file` does."""

    def pipe(content):
        (tmp_path / "stdin").write_bytes(content)
        monkeypatch.setattr(sys, "stdin", (tmp_path / "stdin").open())

    return pipe


@pytest.fixture
def nothing_piped(monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


@pytest.fixture
def open_pipe(monkeypatch):
    """Make a pipe the standard input to which nothing is written."""
    read, write = os.pipe()
    with os.fdopen(read) as reader:
        monkeypatch.setattr(sys, "stdin", reader)
        yield
    os.close(write)


@pytest.mark.parametrize(("argument", "file"), [(None, None), ("-", None), (None, Path("-"))])
def test_piped_text_is_the_question(piped, argument, file):
    piped("Größe?".encode())

    assert question_of(argument, file) == "Größe?"


@pytest.mark.usefixtures("nothing_piped")
def test_an_argument_or_a_file_is_the_question(tmp_path):
    (tmp_path / "question").write_text("Hello")

    assert question_of(None, tmp_path / "question") == "Hello"
    assert question_of("Hi") == "Hi"


def test_a_text_comes_above_the_question_about_it(piped, tmp_path):
    (tmp_path / "text").write_text("\n  a text\n\n")
    assert question_of("Is it short?", tmp_path / "text") == "  a text\n\nIs it short?"

    piped(b"a text\n")
    assert question_of("Is it short?") == "a text\n\nIs it short?"
    piped(b"a text\n")
    assert question_of("Is it short?", Path("-")) == "a text\n\nIs it short?"


@pytest.mark.usefixtures("nothing_piped")
def test_a_question_needs_no_standard_input(monkeypatch):
    assert question_of("Hi") == "Hi"
    monkeypatch.setattr(sys, "stdin", None)  # as with <&-
    assert question_of("Hi") == "Hi"


@pytest.mark.usefixtures("open_pipe")
def test_a_text_that_never_comes_is_reported():
    with pytest.raises(CommandError, match=r"Nothing came from standard input for 0\.01 s"):
        question_of("-", timeout_s=0.01)


@pytest.mark.usefixtures("open_pipe")
def test_a_question_does_not_wait_for_a_pipeline_that_writes_nothing(monkeypatch):
    monkeypatch.setattr(stdin, "PIPELINE_PATIENCE_S", 0.01)
    warnings = []

    assert read_question("Hi", None, timeout_s=5, warn=warnings.append) == "Hi"
    assert warnings == ["Nothing came from standard input for 0.01 s. To wait for it, add: --file -"]


def test_a_question_is_missing_if_the_standard_input_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CommandError, match="No question was given"):
        question_of(None)


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["-", "--file", "README.md"], b"two", "Both - and --file name a text"),
        (["  "], None, "empty"),
        ([], b"", "empty"),
        ([], b"\xff\xfe\x00", "not UTF-8 text"),
        (["one"], b"\xff\xfe\x00", "not UTF-8 text"),
        ([], b"x" * (MAX_BYTES + 1), "longer than the limit"),
        (["--file", "nowhere"], None, "Cannot read nowhere"),
        (["one", "--json", "--stream"], None, "cannot be combined with --stream"),
        (["one", "--user", "nobody"], None, "no user 'nobody'"),
    ],
)
@pytest.mark.usefixtures("db", "nothing_piped")
def test_an_invalid_command_line_is_refused_with_a_reason(piped, arguments, content, message):
    if content is not None:
        piped(content)

    with pytest.raises(CommandError, match=message) as refused:
        call_command("ask", *arguments)

    assert refused.value.returncode == Exit.USAGE
