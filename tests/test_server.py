"""The server, over real sockets: its reaper survives, slow readers are waited for, signals drain."""

import http.client
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.programs import Program


@pytest.fixture
def server() -> Iterator[Program]:
    with Program(["-m", "tests.toy_server"]) as program:
        program.port = int(program.line_with("ready").split()[1])
        yield program


def get(program: Program, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=20)
    connection.request("GET", path)
    return connection.getresponse()


def read_lines_until(program: Program, path: str, words: str) -> str:
    """Ask until the answer is `words`, for at most some seconds; return the last answer."""
    until = time.monotonic() + 10
    while (text := get(program, path).read().decode()) != words and time.monotonic() < until:
        pass
    return text


@pytest.mark.parametrize("path", ["/raises-in-the-middle", "/returns-in-the-middle"])
def test_a_stream_that_breaks_in_the_middle_is_aborted_at_once(server: Program, path: str) -> None:
    began = time.monotonic()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(server, path).read()
    assert time.monotonic() - began < 0.9


def test_connections_are_still_reaped_after_a_stream_that_broke(server: Program) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(server, "/raises-in-the-middle").read()
    for _ in range(10):
        assert get(server, "/").read() == b"end"
    assert read_lines_until(server, "/connections", "1") == "1"


def test_an_exception_before_the_response_is_a_500(server: Program) -> None:
    assert get(server, "/raises-at-once").status == 500


def test_a_socket_whose_application_raises_is_closed_with_1011_and_reaped(server: Program) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
        websocket.send("raise")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=5)
    assert closed.value.rcvd.code == 1011
    assert read_lines_until(server, "/connections", "1") == "1"


def test_a_frame_of_two_megabytes_reaches_the_application(server: Program) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
        websocket.send("x" * 2_000_000)
        assert websocket.recv(timeout=10) == "2000000 characters"


def test_a_client_that_does_not_read_holds_the_application_back(server: Program) -> None:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(AssertionError):
        server.line_with("flooded", timeout_s=1.5)  # 13 MB do not fit into the kernel's buffers
    while client.recv(1 << 20):
        if "flooded" in server.output:
            break
    assert "flooded" in server.output
    client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sends_sockets_away_and_lets_a_stream_finish(server: Program, number: int) -> None:
    stream = get(server, "/stream")
    server.line_with("streaming")
    with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
        server.signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=5)
    assert closed.value.rcvd.code == 1012
    assert stream.read() == b"event 1\nevent 2\nevent 3\nevent 4\nevent 5\nend"
    assert server.end() == 0
    assert server.lines[-2:] == ["shut down", "ended"]
    assert "disconnected 1012" in server.output


def test_nobody_is_accepted_while_it_drains(server: Program) -> None:
    get(server, "/endless")
    server.line_with("endless")
    server.signal(signal.SIGTERM)
    server.line_with("draining")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_what_does_not_finish_is_cut_after_the_drain(server: Program) -> None:
    endless = get(server, "/endless")
    server.line_with("endless")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    assert 0.9 < time.monotonic() - began < 5
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        endless.read()


def test_a_second_signal_ends_at_once(server: Program) -> None:
    get(server, "/endless")
    server.line_with("endless")
    server.signal(signal.SIGINT)
    server.line_with("draining")
    server.signal(signal.SIGINT)
    assert server.end() == 130


def test_a_startup_that_fails_ends_with_code_1_and_still_shuts_down() -> None:
    with Program(["-m", "tests.toy_server", "fails"]) as program:
        assert program.end() == 1
        program.line_with("shut down")
        program.line_with("StartupFailed: the shelf is empty")
        assert "ready" not in program.output
