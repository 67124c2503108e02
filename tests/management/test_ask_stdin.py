"""`manage.py ask "…"` with every kind of standard input: what it reads, and what it leaves alone."""

import shlex
import subprocess

import pytest

from tests.support.commands import COMMAND, on_a_terminal, running
from tests.support.provider_control import requests_of
from tests.support.serving import BASE_DIR

ASK = shlex.join([*COMMAND, "ask"])
IN_FOLDER = shlex.join([COMMAND[0], str(BASE_DIR / COMMAND[1]), "ask"])


@pytest.fixture
def site(serve, provider):
    return serve(provider.env_for_server | {"OPENAI_MODEL": "fake-echo"}, is_started=False)


def in_shell(site, script):
    """Run a shell script that writes nothing to its standard error. Return its output."""
    done = subprocess.run(
        ["bash", "-c", script.replace("{ask}", ASK)],
        cwd=BASE_DIR,
        env=site.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "loop",
    [
        'while read -r question; do {ask} "$question"; done <questions',
        'cat questions | while read -r question; do {ask} "$question"; done',
        'while read -r question; do {ask} "about it: $question" --file a-text; done <questions',
    ],
)
def test_a_loop_keeps_its_lines(site, provider, tmp_path, loop):
    (tmp_path / "questions").write_text("one\ntwo\n")
    (tmp_path / "a-text").write_text("a text\n")

    in_shell(site, f"cd {tmp_path}\n{loop.replace('{ask}', IN_FOLDER)}")

    asked = [request["question"].split()[-1] for request in requests_of(provider)]
    assert asked == ["one", "two"]


@pytest.mark.parametrize("script", ["echo a text | {ask} question", "{ask} question <<<'a text'"])
def test_a_text_that_is_piped_into_the_command_is_sent_with_the_question(site, script):
    assert in_shell(site, script) == "a text\n\nquestion\n"


def test_a_script_passes_its_standard_input_on_if_it_names_it(site):
    text = subprocess.PIPE

    def run(script):
        command = ["bash", "-c", script.replace("{ask}", ASK) + "; true"]
        with subprocess.Popen(command, cwd=BASE_DIR, env=site.env, stdin=text, stdout=text) as process:
            return process.communicate(b"a text\n", timeout=60)[0].decode()

    assert run("{ask} question") == "question\n"
    assert run("{ask} question --file -") == "a text\n\nquestion\n"


def test_a_program_may_keep_the_pipe_open_or_close_it_or_write_to_it(site):
    def answer(write=None, **popen):
        with running(site.env, "ask", "question", **popen) as process:
            if write is not None:
                return process.communicate(write, timeout=60)
            out = process.stdout.read()
            assert process.wait(60) == 0
            return out, process.stderr.read()

    assert answer(stdin=subprocess.PIPE) == (b"question\n", b"")
    assert answer(b"", stdin=subprocess.PIPE) == (b"question\n", b"")
    assert answer(b"a text", stdin=subprocess.PIPE) == (b"a text\n\nquestion\n", b"")
    assert answer(stdin=subprocess.DEVNULL) == (b"question\n", b"")


def test_a_closed_standard_input_and_a_terminal_are_no_text(site):
    assert in_shell(site, "{ask} question <&-") == "question\n"
    with on_a_terminal(site.env, "ask", "question") as terminal:
        assert terminal.end() == 0
        assert "question" in terminal.shown
