"""The web server over real sockets: the reaper survives errors, sending waits for readers, signals drain."""

import http.client
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.programs import Program, running

ROOT = Path(__file__).resolve().parents[2]


class ToyServer(Program):
    port = 0

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(
            [sys.executable, "-m", "tests.support.toy_server", *arguments], folder=folder, cwd=ROOT
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ToyServer]:
    with running(ToyServer(tmp_path)) as program:
        program.port = int(program.wait_for_line(r"^ready (\d+)")[1])
        yield program


def get(program: ToyServer, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=20)
    connection.request("GET", path)
    return connection.getresponse()


def read_lines_until(program: ToyServer, path: str, words: str) -> str:
    """Repeat the request until the reply is `words`, for up to ten seconds; return the last reply."""
    until = time.monotonic() + 10
    while (text := get(program, path).read().decode()) != words and time.monotonic() < until:
        pass
    return text


@pytest.mark.parametrize("path", ["/raises-in-the-middle", "/returns-in-the-middle"])
def test_a_stream_that_breaks_in_the_middle_is_aborted_at_once(server: ToyServer, path: str) -> None:
    began = time.monotonic()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(server, path).read()
    assert time.monotonic() - began < 0.9


def test_connections_are_still_reaped_after_a_stream_that_broke(server: ToyServer) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(server, "/raises-in-the-middle").read()
    for _ in range(10):
        assert get(server, "/").read() == b"end"
    assert read_lines_until(server, "/connections", "1") == "1"


def test_an_exception_before_the_response_is_a_500(server: ToyServer) -> None:
    assert get(server, "/raises-at-once").status == 500


def test_a_socket_whose_application_raises_is_closed_with_1011_and_reaped(server: ToyServer) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
        websocket.send("raise")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=5)
    assert closed.value.rcvd.code == 1011
    assert read_lines_until(server, "/connections", "1") == "1"


def test_a_frame_of_two_megabytes_reaches_the_application(server: ToyServer) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
        websocket.send("x" * 2_000_000)
        assert websocket.recv(timeout=10) == "2000000 characters"


def test_a_client_that_does_not_read_makes_the_application_wait(server: ToyServer) -> None:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
    server.wait_for_line("flooding")
    assert get(server, "/").read() == b"end"  # the event loop has run
    assert "flooded" not in server.log  # 13 MB do not fit into the kernel's buffers
    while "flooded" not in server.log:
        assert client.recv(1 << 20)
    client.close()


def test_a_socket_that_does_not_read_makes_only_its_own_application_wait(server: ToyServer) -> None:
    address = f"ws://127.0.0.1:{server.port}/"
    with connect(address, max_queue=1) as stuck, connect(address) as other:
        stuck.send("flood")
        server.wait_for_line("flooding")
        for _ in range(10):
            other.send("hello")
            assert other.recv(timeout=10) == "5 characters"
        assert "flooded" not in server.log  # 13 MB do not fit into the kernel's buffers
        while "flooded" not in server.log:
            assert stuck.recv(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_sockets_and_lets_a_stream_finish(server: ToyServer, number: int) -> None:
    stream = get(server, "/stream")
    server.wait_for_line("streaming")
    with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
        server.send(number)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=5)
    assert closed.value.rcvd.code == 1012
    assert stream.read() == b"event 1\nevent 2\nevent 3\nevent 4\nevent 5\nend"
    assert server.wait() == 0
    assert server.log.splitlines()[-2:] == ["shut down", "ended"]
    assert "disconnected 1012" in server.log


def test_no_connection_is_accepted_during_the_drain(server: ToyServer) -> None:
    get(server, "/endless")
    server.wait_for_line("endless")
    server.send(signal.SIGTERM)
    server.wait_for_line("draining")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_a_request_that_continues_after_its_response_does_not_delay_the_drain(server: ToyServer) -> None:
    assert get(server, "/works-on").read() == b"end"
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert "Error" not in server.log


def test_a_response_that_does_not_finish_is_cut_after_the_drain(server: ToyServer) -> None:
    endless = get(server, "/endless")
    server.wait_for_line("endless")
    began = time.monotonic()
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert 0.9 < time.monotonic() - began < 5
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        endless.read()


def test_a_second_signal_exits_at_once(server: ToyServer) -> None:
    get(server, "/endless")
    server.wait_for_line("endless")
    server.send(signal.SIGINT)
    server.wait_for_line("draining")
    server.send(signal.SIGINT)
    assert server.wait() == 130


def test_a_startup_that_fails_exits_with_code_1_and_still_shuts_down(tmp_path: Path) -> None:
    with running(ToyServer(tmp_path, "fails")) as program:
        assert program.wait() == 1
        assert "shut down" in program.log
        assert "StartupFailed: the shelf is empty" in program.log
        assert "ready" not in program.log
