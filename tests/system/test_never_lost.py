"""The promise itself, on real processes: an answer survives its socket, its process and its server."""

import time
from uuid import uuid4

import pytest

from tests.support.programs import until
from tests.support.provider_control import provider_text, requests_of
from tests.support.serving import secret_key_of, stored
from tests.support.socket_client import ask, end_of, follow, next_frame, read, whole


def test_an_answer_whose_server_was_killed_is_completed_after_the_next_start(serve, provider):
    server = serve(provider.env_for_server)
    session = server.sign_in()
    question = "[[hold=gate after=10 on=1]] [[deltas=40]]"
    with session.socket() as socket:
        accepted = ask(socket, question)
        for text, _last in read(socket, accepted["generation"]):
            if len(text) >= 40:
                break
        server.kill9()
    server.restart()
    with session.socket() as socket:
        follow(socket, accepted["generation"])
        shown = whole(socket, accepted["generation"])
    status, text, calls, epoch = stored(server, accepted["generation"])
    assert (status, calls, epoch) == ("completed", 2, 2)
    assert shown == text
    assert len(text) == 160


def test_a_question_that_was_acknowledged_before_the_kill_is_answered_once(serve, provider):
    server = serve(provider.env_for_server)
    session = server.sign_in()
    with session.socket() as socket:
        first = ask(socket, "[[hold=gate after=0 on=1]]", client_id="mine")
        until(lambda: requests_of(provider), "the request that is held")
        server.kill9()
    server.restart()
    with session.socket() as socket:
        again = ask(socket, "[[hold=gate after=0 on=1]]", client_id="mine")
        assert (again["generation"], again["repeat"]) == (first["generation"], True)
        assert whole(socket, first["generation"])
    code = "from chat.models import Message; print(Message.objects.count())"
    assert server.query(code) == "2"


def test_a_server_that_is_told_to_end_lets_short_answers_finish_and_hands_long_ones_over(serve, provider):
    server = serve(provider.env_for_server | {"CHATSITE_DRAIN_S": "1"})
    session = server.sign_in()
    with session.socket() as socket:
        short = ask(socket, "[[deltas=60 rate=100]]")
        long = ask(socket, "[[hold=gate after=5 on=1]]")
        seen = list(zip(range(3), read(socket, long["generation"]), strict=False))
        assert seen
        assert server.terminate() == 0
    assert stored(server, short["generation"])[0] == "completed"
    assert stored(server, long["generation"])[0] == "queued"
    server.restart()
    with session.socket() as socket:
        follow(socket, long["generation"])
        assert whole(socket, long["generation"]) == stored(server, long["generation"])[1]


def test_deleting_a_conversation_stops_its_answer_at_the_provider(serve, provider):
    session = serve(provider.env_for_server).sign_in()
    with session.socket() as socket:
        started = ask(socket, "[[hold=gate after=3]]")
        until(lambda: requests_of(provider), "the request")
        reply = session.post(f"/c/{started['conversation']}/delete/")
        assert reply.status == 302
        assert end_of(socket, started["generation"])["type"] == "stopped"
    until(lambda: requests_of(provider)[-1]["left_s"] is not None, "the provider to see the client leave")


def test_the_form_works_without_a_script_and_its_answer_arrives(serve, provider):
    session = serve(provider.env_for_server).sign_in()
    reply = session.post("/ask/", {"text": "plain old form [[deltas=5]]", "client_id": uuid4().hex})
    assert reply.status == 302
    path = reply.headers["Location"].partition("#")[0]
    deadline = time.monotonic() + 20
    while 'http-equiv="refresh"' in (page := session.get(path).text):
        assert time.monotonic() < deadline
    assert "plain old form" in page
    assert provider_text(provider, "plain old form [[deltas=5]]")[:10] in page


@pytest.mark.services
def test_two_servers_on_one_database_share_every_answer_and_outlive_one_another(
    serve, provider, postgres_url, redis_url
):
    env = provider.env_for_server | {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "CHATSITE_PROCESS_DEAD_AFTER_S": "2",
    }
    first = serve(env, is_started=False)
    first.manage("migrate", "-v", "0")
    first.start()
    second = serve(env | {"CHATSITE_SECRET_KEY": secret_key_of(first)})
    session = first.sign_in()
    there = second.visitor()
    there.cookies.update(session.cookies)

    with session.socket() as here, there.socket() as other:
        other.send('{"type": "watch"}')
        accepted = ask(here, "[[deltas=50 rate=50]]")
        changed = next_frame(other, lambda frame: frame["type"] == "changed")
        assert changed["generation"] == accepted["generation"]
        follow(other, accepted["generation"])
        texts = [whole(socket, accepted["generation"]) for socket in (here, other)]
        assert texts[0] == texts[1]
        assert len(texts[0]) == 200

        held = ask(here, "[[hold=gate after=10 on=1]] [[deltas=40]]")
        for text, _last in read(here, held["generation"]):
            if len(text) >= 40:
                break
        first.kill9()
        follow(other, held["generation"])
        assert len(whole(other, held["generation"])) == 160
    assert stored(second, held["generation"])[0] == "completed"


@pytest.mark.services
def test_an_operator_override_reaches_every_server_and_one_that_starts_later(serve, provider, postgres_url):
    env = provider.env_for_server | {"DATABASE_URL": postgres_url, "OPENAI_MODEL": "fake"}
    first = serve(env, is_started=False)
    first.manage("migrate", "-v", "0")
    first.start()
    env["CHATSITE_SECRET_KEY"] = secret_key_of(first)
    second = serve(env)
    operator = first.sign_in("grace", is_staff=True)
    override = {"action": "hold_open", "endpoint": "environment", "model": "fake"}

    reply = operator.post("/admin/chat/process/operations/", override)

    assert reply.status == 302
    for server in (first, second, serve(env)):
        until(lambda server=server: is_held(server), f"{server.base_url} to hold it open")
        with with_cookies(server, operator).socket() as socket:
            generation = ask(socket, "is it held?")["generation"]
            end = end_of(socket, generation)
            assert (end["type"], end["code"]) == ("failed", "breaker_open")
    assert requests_of(provider) == []


def is_held(server):
    return any(each["is_held"] for each in server.visitor().get("/readyz").json()["status"]["breakers"])


def with_cookies(server, session):
    other = server.visitor()
    other.cookies.update(session.cookies)
    return other


@pytest.mark.embedded
def test_a_short_chat_with_the_real_embedded_model(serve):
    server = serve({"CHATSITE_EMBEDDED_MODEL": "1"})
    session = server.sign_in()
    with session.socket(ping_timeout=None) as socket:
        first = ask(socket, "Say hello in one short sentence.")
        answer = whole(socket, first["generation"])
        second = ask(socket, "And once more, please.", conversation=first["conversation"])
        assert whole(socket, second["generation"])
    assert answer.strip()
    status, text, calls, _epoch = stored(server, first["generation"])
    assert (status, calls) == ("completed", 1)
    assert text == answer
