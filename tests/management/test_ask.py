"""`manage.py ask`, run as people and scripts run it: text, exit codes, signals, and who else is about."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from chat import events
from chat.generation.start import start_here
from chat.management.ask import stdin as sources
from chat.management.exits import OUR_REFUSALS, REJECTIONS, Exit, exit_of
from chat.models import Conversation, Generation, Process
from chat.upstream import errors
from tests.support.commands import on_a_terminal, run, running
from tests.support.programs import until
from tests.support.provider_control import provider_text, release, requests_of
from tests.support.runtime import open_runtime
from tests.support.server_settings import overridden

HOLD = "[[hold=gate after=10 on=1]] [[deltas=40]]"


@pytest.fixture
def site(serve, provider):
    """Return a site whose server does not run; its models are `fake`, the default, and one unknown there."""
    return serve(
        provider.env_for_server
        | {"OPENAI_MODEL": "fake,fake-nonsense"}
        | overridden(RETRY_POLICY={"backoff_first_s": 0.01}),
        is_started=False,
    )


def ask(site, *arguments, **more):
    return run(site.env, "ask", *arguments, **more)


def last_row(site):
    """Return the newest generation of the site."""
    code = """
import json
from chat.models import Generation
row = Generation.objects.select_related("message", "message__conversation", "user").first()
print(json.dumps(row and dict(
    id=row.pk, status=row.status, text=row.message.text, owner=row.owner, epoch=row.epoch, calls=row.calls,
    source=row.source, is_hidden=row.message.conversation.is_hidden, user=row.user.username,
    request=row.request,
)))
"""
    return json.loads(site.shell(code))


def requests(provider):
    return requests_of(provider)


# -- what it prints --------------------------------------------------------------------------------


def test_a_pipe_gets_the_whole_answer_and_nothing_else(site, provider):
    question = "What is a heap? [[deltas=20]]"

    done = ask(site, question)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == provider_text(provider, question) + "\n"


def test_an_answer_is_logged_as_a_commands_and_is_in_nobodys_sidebar(site, provider):
    ask(site, "Hello", "--system", "Be brief.")

    row = last_row(site)
    assert (row["source"], row["is_hidden"], row["user"]) == ("command", True, "owner")
    sent = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert row["request"]["messages"] == sent


def test_json_tells_everything_in_one_document_after_a_retry(site, provider):
    question = "Hello [[status=503 times=1]]"

    done = ask(site, question, "--json")

    told = json.loads(done.stdout)
    assert told["text"] == provider_text(provider, question)
    assert (told["status"], told["finish_reason"], told["exit_code"]) == ("completed", "stop", 0)
    assert [each["outcome"] for each in told["attempts"]] == ["failed", "completed"]
    assert told["attempts"][0]["error_code"] == "server_error"
    assert told["model"] == told["asked_model"] == "fake"
    assert told["usage"]["output_tokens"] > 0
    assert told["cost_usd"] is None
    assert 0 < told["first_delta_s"] <= told["duration_s"]
    assert told["generation"] == last_row(site)["id"]


def test_a_terminal_shows_the_answer_as_it_comes_and_what_it_waits_for(site, provider):
    question = f"{HOLD} [[status=503 times=1]]".replace("on=1", "on=2")
    with on_a_terminal(site.env, "ask", question) as terminal:
        begin = provider_text(provider, question)[:8]
        terminal.wait_for(begin.replace("*", ".").replace("(", "."))
        assert terminal.process.poll() is None
        release(provider, "gate")
        assert terminal.end() == 0
        assert "returned a server error. Call 2 of 3 in" in terminal.shown
        assert provider_text(provider, question) in terminal.shown


def test_a_terminal_gets_no_control_characters_of_a_model(site):
    with on_a_terminal(site.env, "ask", r"[[text=a\u001b]0;title\u0007b\u009bc]]") as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.shown
        assert "a]0;titlebc" in terminal.shown


def test_a_restart_is_told_on_a_terminal_and_the_new_text_comes_after_a_line(site):
    with on_a_terminal(site.env, "ask", "[[drop after=10 times=1 vary]]") as terminal:
        assert terminal.end() == 0
        shown = terminal.shown
    text = last_row(site)["text"]
    above, below = shown.split("-" * 40)
    assert "began anew" in above
    assert text in below
    assert text not in above


def test_a_pipe_gets_only_the_text_that_counts_after_a_restart(site):
    done = ask(site, "[[drop after=10 times=1 vary]]", "-v", "2")

    assert done.stdout == last_row(site)["text"] + "\n"


# -- where the question comes from -----------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch, tmp_path):
    """Return a function that makes some bytes the standard input, as `<file` does."""

    def pipe(content):
        (tmp_path / "stdin").write_bytes(content)
        monkeypatch.setattr(sys, "stdin", (tmp_path / "stdin").open())

    return pipe


@pytest.fixture
def nothing_piped(monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


def test_a_question_is_piped_in(site, provider):
    assert ask(site, "-", stdin="Hello").stdout == provider_text(provider, "Hello") + "\n"


@pytest.mark.parametrize("argument", [None, "-"])
def test_what_is_piped_in_is_the_question(piped, argument):
    piped("Größe?".encode())

    assert sources.read(argument, None) == "Größe?"


@pytest.mark.usefixtures("nothing_piped")
def test_an_argument_or_a_file_is_the_question(tmp_path):
    (tmp_path / "question").write_text("Hello")

    assert sources.read(None, tmp_path / "question") == "Hello"
    assert sources.read("Hi", None) == "Hi"


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["one"], b"two", "an argument and the standard input"),
        (["one", "--file", "README.md"], None, "an argument and --file"),
        (["-", "--file", "README.md"], b"two", "--file and the standard input"),
        (["  "], None, "empty"),
        ([], b"", "empty"),
        ([], b"\xff\xfe\x00", "not text in UTF-8"),
        ([], b"x" * (sources.MAX_BYTES + 1), "shorter"),
        (["--file", "nowhere"], None, "Cannot read nowhere"),
        (["one", "--json", "--stream"], None, "leave out --stream"),
        (["one", "--user", "nobody"], None, "no user 'nobody'"),
    ],
)
@pytest.mark.usefixtures("db", "nothing_piped")
def test_a_command_line_that_makes_no_sense_is_refused_with_words(piped, arguments, stdin, words):
    if stdin is not None:
        piped(stdin)

    with pytest.raises(CommandError, match=words) as refused:
        call_command("ask", *arguments)

    assert refused.value.returncode == Exit.USAGE


def test_a_time_out_of_nothing_is_refused(site):
    done = ask(site, "one", "--timeout", "0")

    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "more than 0" in done.stderr


# -- exit codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["x", "--model", "nope"], Exit.REFUSED, "There is: environment/fake"),
        (["x", "--model", "environment/fake-nonsense"], Exit.REJECTED, "fake-nonsense"),
        (["[[status=401]]"], Exit.REJECTED, "API key"),
        (["[[filtered]]"], Exit.REJECTED, ""),
        (["[[finish=content_filter]]"], Exit.REJECTED, "content filter"),
        (["[[status=503]]"], Exit.UNAVAILABLE, "server error"),
        (["[[cut after=5 vary]]"], Exit.INTERRUPTED, "before it was complete"),
        (["[[finish=length]]"], Exit.COMPLETE, "as long as the model may write"),
    ],
)
def test_the_exit_code_tells_the_class_of_a_failure(site, arguments, code, words):
    done = ask(site, *arguments)

    assert done.returncode == code, done
    assert words in done.stderr


def codes_under(kind):
    return {kind.code} | set().union(*(codes_under(each) for each in kind.__subclasses__()), set())


def test_every_rejection_of_a_provider_is_one_of_the_command():
    assert codes_under(errors.Rejected) <= REJECTIONS
    assert codes_under(errors.UpstreamError) >= REJECTIONS | OUR_REFUSALS
    for kind in (errors.Unreachable, errors.Busy, errors.TooSlow, errors.BadStream, errors.BreakerOpen):
        for code in codes_under(kind):
            assert exit_of(events.Failed(code, "")) == Exit.UNAVAILABLE, code


def test_the_help_names_every_exit_code(site):
    shown = ask(site, "--help").stdout

    for each in Exit:
        assert f"{each:>3}  {each.meaning}" in shown


def test_a_database_that_was_never_prepared_is_named(serve, provider):
    done = ask(serve(provider.env_for_server, is_started=False, is_prepared=False), "Hello")

    assert done.returncode == Exit.FAULT
    assert "manage.py serve or migrate" in done.stderr
    assert "Traceback" not in done.stderr


# -- being stopped ---------------------------------------------------------------------------------


def test_ctrl_c_stops_the_answer_and_its_call_and_keeps_the_text(site, provider):
    with on_a_terminal(site.env, "ask", HOLD) as terminal:
        terminal.wait_for(r"\w")
        until(lambda: requests(provider)[-1]["deltas"] == 10, "the gate")
        terminal.press("\x03")
        assert terminal.end() == Exit.CTRL_C
    [request] = requests(provider)
    assert request["outcome"] == "left"
    row = last_row(site)
    assert (row["status"], len(row["text"])) == ("stopped", 40)


def test_sigterm_stops_it_too(site, provider):
    with running(site.env, "ask", HOLD) as process:
        until(lambda: requests(provider) and requests(provider)[-1]["deltas"] == 10, "the gate")
        process.terminate()
        out, _err = process.communicate(timeout=20)
    assert process.returncode == Exit.TERMINATED
    assert out.decode() == last_row(site)["text"] + "\n"


def test_a_reader_who_leaves_ends_the_answer(site, provider):
    with running(site.env, "ask", "--stream", "[[rate=20 deltas=10000]]") as process:
        assert process.stdout.read(4)
        process.stdout.close()
        assert process.wait(20) == Exit.PIPE_CLOSED
        assert process.stderr.read() == b""
    assert last_row(site)["status"] == "stopped"
    assert [each["outcome"] for each in requests(provider)] == ["left"]


def test_a_time_out_ends_it_and_says_so(site):
    done = ask(site, "[[first_s=60]]", "--timeout", "1")

    assert done.returncode == Exit.UNAVAILABLE
    assert "within 1 s" in done.stderr
    assert last_row(site)["status"] == "stopped"


# -- beside others ---------------------------------------------------------------------------------


@pytest.mark.django_db
async def test_an_answer_is_the_commands_own_in_the_transaction_that_stores_it(user, model, monkeypatch):
    started = []

    def start(generation_id, *, from_owner):
        started.append((generation_id, from_owner))
        return asyncio.create_task(asyncio.sleep(0))

    async with open_runtime(Process.Kind.COMMAND) as runtime:
        monkeypatch.setattr(runtime.runner, "start", start)
        stored, run = await start_here(
            runtime.runner,
            user,
            lambda: Conversation.ask(user, "Hello", client_id="c1", source=Generation.Source.COMMAND),
        )
        await run
        row = await Generation.objects.aget(pk=stored.generation_id)
        assert (row.owner, row.status) == (runtime.id, "queued")
        assert started == [(row.pk, runtime.id)]


def test_a_server_that_runs_or_starts_meanwhile_leaves_it_alone(site, provider):
    with running(site.env, "ask", HOLD) as process:
        until(lambda: requests(provider) and requests(provider)[-1]["deltas"] == 10, "the gate")
        site.start()
        until(lambda: ticks(site) >= 2, "ticks of the server")
        release(provider, "gate")
        out, _err = process.communicate(timeout=20)
    row = last_row(site)
    assert (process.returncode, row["epoch"], row["calls"]) == (0, 1, 1)
    assert out.decode() == provider_text(provider, HOLD) + "\n"
    assert ask(site, "Hello").stdout == provider_text(provider, "Hello") + "\n"
    assert (last_row(site)["epoch"], last_row(site)["calls"]) == (1, 1)


def ticks(site):
    return site.visitor().get("/readyz").status == 200 and int(
        site.shell("from chat.models import Process; print(Process.objects.get(kind='server').counter)")
    )


def test_a_command_that_was_killed_has_its_answer_completed_by_a_server(serve, provider):
    env = provider.env_for_server | {"OPENAI_MODEL": "fake", "CHATSITE_PROCESS_DEAD_AFTER_S": "2"}
    site = serve(env)
    with running(site.env, "ask", HOLD) as process:
        until(lambda: requests(provider) and requests(provider)[-1]["deltas"] == 10, "the gate")
        process.kill()
        process.wait()
    until(lambda: last_row(site)["status"] == "completed", "a server to complete it", deadline_s=40)
    row = last_row(site)
    assert (row["text"], row["epoch"]) == (provider_text(provider, HOLD), 2)


@pytest.mark.services
def test_it_works_on_postgresql(serve, provider, postgres_url):
    env = provider.env_for_server | {"DATABASE_URL": postgres_url, "OPENAI_MODEL": "fake"}
    site = serve(env, is_started=False)
    site.manage("migrate", "-v", "0")

    assert ask(site, "Hello").stdout == provider_text(provider, "Hello") + "\n"
    site.start()
    assert ask(site, "Hello again").stdout == provider_text(provider, "Hello again") + "\n"
