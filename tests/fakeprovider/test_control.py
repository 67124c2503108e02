"""The control API of the fake provider, its log, and its command."""

import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from chat.fakeprovider import ThreadedProvider, listing
from chat.fakeprovider.schedule import ScheduledFault
from tests.support.provider_client import Reply, ask, body_for, call, connect, read, send

HELLO = "hello"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def provider():
    with ThreadedProvider.running() as provider:
        yield provider


def control(provider, method, path, body=None):
    reply = call(provider, method, f"/control/{path}", body)
    assert reply.status == 200, reply.raw
    return reply.json


def statuses(provider, count, **options):
    return [ask(provider, HELLO, **options).status for _ in range(count)]


def test_script_is_used_up_in_order(provider):
    control(provider, "POST", "script", [{"do": "status=429"}, {"do": "status=503", "times": 2}])

    assert statuses(provider, 4) == [429, 503, 503, 200]


def test_script_takes_a_bare_directive_too(provider):
    control(provider, "POST", "script?times=2", b"status=500 code=boom")

    assert statuses(provider, 3) == [500, 500, 200]


def test_script_for_one_model_leaves_others_alone(provider):
    provider.script("status=503", model="fake:a")

    assert statuses(provider, 1, model="fake:b") == [200]
    assert statuses(provider, 2, model="fake:a") == [503, 200]


def test_script_can_hold_several_directives(provider):
    provider.script("chars=1; cut after=2")

    assert ask(provider, HELLO).pieces() == list(provider.text_for(HELLO)[:2])


def test_outage_affects_the_whole_api_until_it_is_deleted(provider):
    provider.script("status=503", for_s=600)

    assert statuses(provider, 3) == [503] * 3
    assert call(provider, "GET", "/v1/models").status == 503
    control(provider, "DELETE", "script")
    assert statuses(provider, 1) == [200]


def test_window_begins_ends_and_flaps_by_the_clock():
    fault = ScheduledFault("status=503", start_s=10, for_s=20, up_s=3, down_s=2, made_s=100)

    down = [at for at in range(100, 140) if fault.matches("fake", "/v1/models", at) and not fault.is_over(at)]

    assert down == [113, 114, 118, 119, 123, 124, 128, 129]


@pytest.mark.parametrize(
    "wrong", [{"do": "bogus"}, {"time": 1}, {"do": "cut", "time": 1}, {"do": "cut", "times": "x"}]
)
def test_an_invalid_script_is_rejected(provider, wrong):
    assert call(provider, "POST", "/control/script", wrong).status == 400


def test_stream_waits_at_its_gate_until_it_is_released(provider):
    reply = Reply()
    with connect(provider) as sock:
        send(sock, "POST", "/v1/chat/completions", body_for(f"[[hold=gate after=5]] {HELLO}"))
        held = provider.wait_held("gate")
        assert (held.deltas, held.text) == (5, provider.text_for(HELLO)[:20])
        control(provider, "POST", "release?gate=gate")
        while data := sock.recv(1 << 16):
            reply.raw += data

    read(reply)
    assert reply.is_healthy
    assert reply.text == provider.text_for(HELLO)


def test_log_has_the_time_of_a_disconnect_and_the_text_sent_before_it(provider):
    with connect(provider) as sock:
        send(sock, "POST", "/v1/chat/completions", body_for(f"[[stall after=4]] {HELLO}"))
        provider.wait_for(lambda record: record.state == "stalled")

    left = provider.wait_for(lambda record: record.client_left)

    assert (left.outcome, left.deltas, left.text) == ("left", 4, provider.text_for(HELLO)[:16])
    assert left.at_s <= left.first_delta_s <= left.left_s <= left.ended_s


def test_slow_stream_notices_a_disconnect_at_once(provider):
    with connect(provider) as sock:
        send(sock, "POST", "/v1/chat/completions", body_for("[[rate=0.01]]"))
        provider.wait_for(lambda record: record.deltas == 1)

    assert provider.wait_for(lambda record: record.client_left, timeout_s=5).deltas == 1


def test_log_counts_attempts_at_a_question_and_the_gaps_between_them(provider):
    for text in ("a", "b", "a"):
        ask(provider, text)

    records = provider.requests

    assert [(record.question, record.attempt) for record in records] == [("a", 1), ("b", 1), ("a", 2)]
    assert [record.gap_s is None for record in records] == [True, True, False]
    assert records[2].gap_s == records[2].at_s - records[0].ended_s > 0


def test_log_over_http_has_everything_except_the_key(provider):
    messages = [
        {"role": "user", "content": HELLO},
        {"role": "assistant", "content": provider.text_for(HELLO)[:8]},
    ]
    call(
        provider,
        "POST",
        "/v1/chat/completions",
        body_for("", "fake-cut-after-5", messages=messages),
        Authorization="Bearer secret",
    )

    (record,) = control(provider, "GET", "requests")["requests"]

    assert "secret" not in json.dumps(record)
    assert (record["behaviour"], record["outcome"]) == ("rate=0; deltas=60; cut after=5", "cut")
    assert (record["prefill"], record["prefill_matched"]) == (provider.text_for(HELLO)[:8], True)
    assert record["text"] == provider.text_for(HELLO)[8:28]
    assert record["sent_bytes"] > 500
    assert control(provider, "DELETE", "requests")["requests"] == []


def test_control_returns_the_text_of_an_answer(provider):
    assert control(provider, "POST", "text", {"text": HELLO}) == {"text": provider.text_for(HELLO)}


def test_connection_is_kept_alive_after_whole_bodies(provider):
    with connect(provider) as sock:
        for text in ("[[cut]]", "[[status=500]]", HELLO):
            send(sock, "POST", "/v1/chat/completions", body_for(text), {"X": "y"})
            raw = b""
            while not raw.endswith((b"0\r\n\r\n", b"}}")):
                raw += sock.recv(1 << 16)
            assert b"keep-alive" in raw


def test_request_bodies_may_be_chunked(provider):
    body = json.dumps(body_for(HELLO)).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    with connect(provider) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunks
        )
        raw = b"".join(iter(lambda: sock.recv(1 << 16), b""))

    assert b"[DONE]" in raw


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_what_is_not_http_gets_400(provider, raw):
    with connect(provider) as sock:
        sock.sendall(raw)
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


def test_wrong_key_gets_401_and_health_needs_none():
    with ThreadedProvider.running(key="K") as provider:
        assert ask(provider, HELLO).error["code"] == "invalid_api_key"
        assert call(provider, "GET", "/v1/models", Authorization="Bearer K").status == 200
        assert call(provider, "GET", "/healthz").json == {"status": "ok"}


def test_command_prints_its_address_serves_and_exits_on_sigterm():
    command = [sys.executable, "manage.py", "fakeprovider", "--port", "0", "--rate", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        base_url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", base_url)
        provider = type("Provider", (), {"url": base_url.removesuffix("/v1")})
        assert ask(provider, HELLO).is_healthy
        with connect(provider) as streaming:
            send(streaming, "POST", "/v1/chat/completions", body_for("[[stall]]"))
            assert streaming.recv(1 << 16)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost.example"])
def test_command_listens_on_loopback_only(host):
    with pytest.raises(CommandError, match="loopback only"):
        call_command("fakeprovider", host=host)


def test_command_lists_the_table():
    out = io.StringIO()

    call_command("fakeprovider", list=True, stdout=out)

    assert out.getvalue() == listing.as_text()


def test_documentation_has_the_same_table():
    assert listing.as_markdown() in (ROOT / "docs" / "rehearse.md").read_text()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b"{"),
        ("/v1/chat/completions", []),
        ("/v1/chat/completions", {"model": "fake"}),
        ("/v1/chat/completions", {"model": "fake", "messages": ["hi"]}),
        ("/v1/files", b"no form"),
        ("/v1/batches", []),
        ("/control/text", {"text": "[[bogus]]"}),
        ("/control/text", []),
        ("/control/release", b""),
    ],
)
def test_nonsense_gets_400(provider, path, body):
    assert call(provider, "POST", path, body).status == 400
    assert ask(provider, HELLO).is_healthy
