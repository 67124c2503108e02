"""The size of a frame: the documented limit is the enforced one, and the longest message fits into it."""

import json
import re
from pathlib import Path

import pytest

from tests.support.socket_client import next_frame

SOCKET = (Path(__file__).resolve().parents[2] / "docs/socket.md").read_text()
DOCUMENTED_BYTES = 1024 * int(re.search(r"one JSON object, at most (\d+) KiB", SOCKET)[1])
LONGEST = "🦉" * 50_000  # MESSAGE_MAX_CHARS characters of four bytes


@pytest.fixture
def socket(serve, provider):
    with serve(provider.env_for_server).sign_in().socket() as socket:
        yield socket


def sent(socket, text):
    """Send a frame as it is; return the reply."""
    socket.send(text)
    return next_frame(socket, lambda frame: frame["type"] in {"accepted", "refused", "pong"})


def ask(ensure_ascii=False, **fields):
    frame = {"type": "ask", "client_id": "c1", "conversation": None, "text": LONGEST, **fields}
    return json.dumps(frame, ensure_ascii=ensure_ascii)


def ping_of(size_bytes):
    start = '{"type": "ping", "ignored": "'
    return start + "x" * (size_bytes - len(start) - 2) + '"}'


def test_the_enforced_limit_is_the_documented_one(settings):
    assert settings.FRAME_MAX_BYTES == DOCUMENTED_BYTES


def test_the_documented_window_of_flow_control_is_the_real_one(settings):
    assert settings.ACK_WINDOW_BYTES == 2**20
    assert "at most 1 MiB of unacknowledged events" in SOCKET


def test_a_frame_of_the_limit_is_taken_and_one_byte_more_is_refused(socket):
    assert sent(socket, ping_of(DOCUMENTED_BYTES))["type"] == "pong"
    refused = sent(socket, ping_of(DOCUMENTED_BYTES + 1))
    assert (refused["type"], refused["code"]) == ("refused", "frame_too_large")
    assert sent(socket, ping_of(100))["type"] == "pong"


def test_the_longest_message_fits_with_a_long_system_prompt(socket):
    assert sent(socket, ask(system_prompt="語" * 20_000, temperature=0.5))["type"] == "accepted"


def test_what_does_not_fit_is_refused_by_the_name_of_its_question(socket):
    """Escapes take twelve bytes for a character of four; the client gets its text back."""
    for too_large in (ask(ensure_ascii=True), ask(system_prompt="🦉" * 20_000)):
        refused = sent(socket, too_large)
        assert (refused["code"], refused["client_id"]) == ("frame_too_large", "c1")
