"""`manage.py ask`, run as users and scripts run it: output, exit codes, signals, and other processes."""

import asyncio
import json

import pytest

from chat.generation.start import start_here
from chat.management.exits import Exit
from chat.models import Conversation, Generation, Process
from tests.support.commands import on_a_terminal, run, running
from tests.support.programs import until
from tests.support.provider_control import provider_text, release, requests_of
from tests.support.runtime import open_runtime
from tests.support.server_settings import overridden

HOLD = "[[hold=gate after=10 on=1]] [[deltas=40]]"


@pytest.fixture
def site(serve, provider):
    """Return a site whose server does not run. Its models: `fake` (default), and one the provider lacks."""
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
    return json.loads(site.query(code))


def requests(provider):
    return requests_of(provider)


# -- what it prints --------------------------------------------------------------------------------


def test_a_pipe_gets_the_whole_answer_and_nothing_else(site, provider):
    question = "What is a heap? [[deltas=20]]"

    done = ask(site, question)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == provider_text(provider, question) + "\n"


def test_a_picture_is_named_beside_the_answer(site):
    done = ask(site, "draw [[deltas=3 images=1]]")

    assert done.returncode == 0
    assert "/attachments/" in done.stderr
    assert "/attachments/" not in done.stdout


def test_an_answer_is_stored_with_source_command_in_a_hidden_conversation(site, provider):
    ask(site, "Hello", "--system", "Be brief.")

    row = last_row(site)
    assert (row["source"], row["is_hidden"], row["user"]) == ("command", True, "owner")
    sent = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert row["request"]["messages"] == sent


def test_json_is_one_document_with_all_attempts(site, provider):
    question = "Hello [[status=503 times=1]]"

    done = ask(site, question, "--json")

    document = json.loads(done.stdout)
    assert document["text"] == provider_text(provider, question)
    assert (document["status"], document["finish_reason"], document["exit_code"]) == ("completed", "stop", 0)
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["failed", "completed"]
    assert document["attempts"][0]["error_code"] == "server_error"
    assert document["model"] == document["asked_model"] == "fake"
    assert document["usage"]["output_tokens"] > 0
    assert document["cost_usd"] is None
    assert 0 < document["first_delta_s"] <= document["duration_s"]
    assert document["generation"] == last_row(site)["id"]


def test_a_terminal_shows_the_answer_as_it_is_generated_and_the_progress(site, provider):
    question = f"{HOLD} [[status=503 times=1]]".replace("on=1", "on=2")
    with on_a_terminal(site.env, "ask", question) as terminal:
        begin = provider_text(provider, question)[:8]
        terminal.wait_for(begin.replace("*", ".").replace("(", "."))
        assert terminal.process.poll() is None
        release(provider, "gate")
        assert terminal.end() == 0
        assert "returned a server error. Attempt 2 of 3 in" in terminal.shown
        assert provider_text(provider, question) in terminal.shown


def test_a_terminal_gets_no_control_characters_of_a_model(site):
    with on_a_terminal(site.env, "ask", r"[[text=a\u001b]0;title\u0007b\u009bc]]") as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.shown
        assert "a]0;titlebc" in terminal.shown


def test_a_terminal_shows_the_text_after_a_restart_below_a_line(site):
    with on_a_terminal(site.env, "ask", "[[drop after=10 times=1 vary]]") as terminal:
        assert terminal.end() == 0
        shown = terminal.shown
    text = last_row(site)["text"]
    above, below = shown.split("-" * 40)
    assert "is being generated again" in above
    assert text in below
    assert text not in above


def test_a_pipe_gets_only_the_final_text_after_a_restart(site):
    done = ask(site, "[[drop after=10 times=1 vary]]", "-v", "2")

    assert done.stdout == last_row(site)["text"] + "\n"


def test_a_question_is_read_from_a_pipe(site, provider):
    assert ask(site, "-", stdin="Hello").stdout == provider_text(provider, "Hello") + "\n"


def test_a_timeout_of_zero_is_refused(site):
    done = ask(site, "one", "--timeout", "0")

    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "more than 0" in done.stderr


# -- exit codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x", "--model", "nope"], Exit.REFUSED, "Available: environment/fake"),
        (["x", "--model", "environment/fake-nonsense"], Exit.REJECTED, "fake-nonsense"),
        (["[[status=401]]"], Exit.REJECTED, "API key"),
        (["[[filtered]]"], Exit.REJECTED, ""),
        (["[[finish=content_filter]]"], Exit.REJECTED, "content filter"),
        (["[[status=503]]"], Exit.UNAVAILABLE, "server error"),
        (["[[cut after=5 vary]]"], Exit.INTERRUPTED, "before it was complete"),
        (["[[finish=length]]"], Exit.COMPLETE, "reached the length limit"),
    ],
)
def test_the_exit_code_stands_for_the_class_of_the_failure(site, arguments, code, message):
    done = ask(site, *arguments)

    assert done.returncode == code, done
    assert message in done.stderr


def test_the_help_lists_every_exit_code(site):
    shown = ask(site, "--help").stdout

    for code in Exit:
        assert f"{code:>3}  {code.meaning}" in shown


def test_a_database_without_tables_is_reported(serve, provider):
    done = ask(serve(provider.env_for_server, is_started=False, is_prepared=False), "Hello")

    assert done.returncode == Exit.FAULT
    assert "manage.py serve or migrate" in done.stderr
    assert "Traceback" not in done.stderr


# -- stopping ----------------------------------------------------------------------------------


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


def test_sigterm_stops_the_answer(site, provider):
    with running(site.env, "ask", HOLD) as process:
        until(lambda: requests(provider) and requests(provider)[-1]["deltas"] == 10, "the gate")
        process.terminate()
        out, _err = process.communicate(timeout=20)
    assert process.returncode == Exit.TERMINATED
    assert out.decode() == last_row(site)["text"] + "\n"


def test_a_closed_pipe_stops_the_answer(site, provider):
    with running(site.env, "ask", "--stream", "[[rate=20 deltas=10000]]") as process:
        assert process.stdout.read(4)
        process.stdout.close()
        assert process.wait(20) == Exit.PIPE_CLOSED
        assert process.stderr.read() == b""
    assert last_row(site)["status"] == "stopped"
    assert [request["outcome"] for request in requests(provider)] == ["left"]


def test_a_timeout_stops_the_answer(site):
    done = ask(site, "[[first_s=60]]", "--timeout", "1")

    assert done.returncode == Exit.UNAVAILABLE
    assert "after 1 s" in done.stderr
    assert last_row(site)["status"] == "stopped"


# -- other processes ---------------------------------------------------------------------------------


@pytest.mark.django_db
async def test_the_command_owns_the_generation_from_the_transaction_that_stores_it(user, model, monkeypatch):
    claimed = []

    async def run_claimed(one):
        claimed.append(one.generation.pk)
        return asyncio.create_task(asyncio.sleep(0))

    async with open_runtime(Process.Kind.COMMAND) as runtime:
        monkeypatch.setattr(runtime.runner, "run_claimed", run_claimed)
        stored, run = await start_here(
            runtime.runner,
            user,
            lambda: Conversation.ask(user, "Hello", client_id="c1", source=Generation.Source.COMMAND),
        )
        await run
        row = await Generation.objects.aget(pk=stored.generation_id)
        assert (row.owner, row.status) == (runtime.id, "running")
        assert claimed == [row.pk]


@pytest.mark.thorough
def test_a_server_does_not_take_over_the_answer_of_a_running_command(site, provider):
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
        site.query("from chat.models import Process; print(Process.objects.get(kind='server').counter)")
    )


def test_a_server_completes_the_answer_of_a_killed_command(serve, provider):
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
