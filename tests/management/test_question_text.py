"""The text of a question: from an argument, a file or the standard input."""

import os
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from chat.management.ask.stdin import MAX_BYTES, read_question
from chat.management.exits import Exit


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


@pytest.mark.parametrize("argument", [None, "-"])
def test_piped_text_is_the_question(piped, argument):
    piped("Größe?".encode())

    assert read_question(argument, None) == "Größe?"


@pytest.mark.usefixtures("nothing_piped")
def test_an_argument_or_a_file_is_the_question(tmp_path):
    (tmp_path / "question").write_text("Hello")

    assert read_question(None, tmp_path / "question") == "Hello"
    assert read_question("Hi", None) == "Hi"


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["one"], b"two", "an argument and standard input"),
        (["one", "--file", "README.md"], None, "an argument and --file"),
        (["-", "--file", "README.md"], b"two", "--file and standard input"),
        (["  "], None, "empty"),
        ([], b"", "empty"),
        ([], b"\xff\xfe\x00", "not UTF-8 text"),
        ([], b"x" * (MAX_BYTES + 1), "longer than the limit"),
        (["--file", "nowhere"], None, "Cannot read nowhere"),
        (["one", "--json", "--stream"], None, "cannot be combined with --stream"),
        (["one", "--user", "nobody"], None, "no user 'nobody'"),
    ],
)
@pytest.mark.usefixtures("db", "nothing_piped")
def test_an_invalid_command_line_is_refused_with_a_reason(piped, arguments, stdin, message):
    if stdin is not None:
        piped(stdin)

    with pytest.raises(CommandError, match=message) as refused:
        call_command("ask", *arguments)

    assert refused.value.returncode == Exit.USAGE
