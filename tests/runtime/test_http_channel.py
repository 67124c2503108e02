"""What a connection refuses, with which status and when; over a transport in memory and a clock that is set.

tests/system/test_hostile_requests.py has the same over real sockets.
"""

from collections.abc import Callable
from http import HTTPStatus

import pytest

from chat.runtime.asgi_server import RequestLimits

from chat.runtime.asgi_server.http_channel import HttpChannel, HttpFactory  # isort: skip
from twisted.internet.task import Clock  # isort: skip
from twisted.internet.testing import StringTransport  # isort: skip

HEAD = b"Host: x\r\n"
LIMITS = RequestLimits(
    body_max_bytes=lambda path: 100_000 if path == "/large" else 1000,
    head_s=20,
    body_stall_s=30,
    body_bytes_per_s=100,
    idle_s=60,
    linger_s=10,
    incomplete_max_bytes=50_000,
)


class Transport(StringTransport):
    is_half_closed = False
    is_aborted = False

    def loseWriteConnection(self) -> None:
        self.is_half_closed = True

    def abortConnection(self) -> None:
        self.is_aborted = True


class QuietServer:
    """What a channel needs of a server: it starts no application."""

    proxy_forwarded_address_header = None
    root_path = ""
    request_buffer_size = 8192

    def __init__(self) -> None:
        self.applications: list[dict[str, object]] = []
        self.connections: dict[object, object] = {}

    def protocol_connected(self, protocol: object) -> None:
        self.connections[protocol] = {}

    def protocol_disconnected(self, protocol: object) -> None:
        self.connections.pop(protocol, None)

    def create_application(self, protocol: object, scope: dict[str, object]) -> None:
        self.applications.append(scope)


class Client:
    """One connection to a factory."""

    def __init__(self, factory: HttpFactory) -> None:
        self.factory = factory
        self.channel: HttpChannel = factory.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    @property
    def status(self) -> int | None:
        reply = self.transport.value()
        return int(reply.split(b" ")[1]) if reply else None

    @property
    def applications(self) -> list[dict[str, object]]:
        return self.factory.server.applications


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connect(clock: Clock) -> Callable[[], Client]:
    factory = HttpFactory(QuietServer(), LIMITS)
    factory.reactor = clock
    return lambda: Client(factory)


@pytest.fixture
def client(connect: Callable[[], Client]) -> Client:
    return connect()


def chunk(size: int) -> bytes:
    return b"%x\r\n%s\r\n" % (size, b"x" * size)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
REFUSED = {
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "two hosts, old version": (400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    "two encodings": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n"),
    "two encoding headers": (
        400,
        b"POST / HTTP/1.1\r\n" + HEAD + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n",
    ),
    "identity first": (
        400,
        b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: identity\r\n" + CHUNKED + b"\r\n",
    ),
    "identity alone": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: identity\r\n\r\n"),
    "gzip": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "chunked twice": (400, b"POST / HTTP/1.1\r\n" + HEAD + CHUNKED * 2 + b"\r\n"),
    "vertical tab": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n"),
    "chunked, old version": (400, b"POST / HTTP/1.0\r\n" + HEAD + CHUNKED + b"\r\n"),
    "length and chunked": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n"),
    "chunked and length": (400, b"POST / HTTP/1.1\r\n" + HEAD + CHUNKED + b"Content-Length: 5\r\n\r\n"),
    "two lengths": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    "a list of lengths": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5, 5\r\n\r\n"),
    "a signed length": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: +5\r\n\r\n"),
    "a negative length": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: -5\r\n\r\n"),
    "an empty length": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length:\r\n\r\n"),
    "a length of 5,000 digits": (
        413,
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ),
    "space before a colon": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length : 5\r\n\r\n"),
    "folded header": (400, b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n"),
    "bare line feed": (400, b"GET / HTTP/1.1\r\n" + HEAD + b"A: b\nContent-Length: 5\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\n" + HEAD + b"nonsense\r\n\r\n"),
    "wrong version": (400, b"GET / HTTP/3.7\r\n" + HEAD + b"\r\n"),
    "wrong method": (400, b"G(T / HTTP/1.1\r\n" + HEAD + b"\r\n"),
    "tls": (400, b"\x16\x03\x01\x02\x00\x01\x00\r\n"),
    "upgrade with a body": (
        400,
        b"GET /ws/ HTTP/1.1\r\n" + HEAD + b"Upgrade: websocket\r\nContent-Length: 5\r\n\r\n",
    ),
    "declared too large": (413, b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 1001\r\n\r\n"),
    "GET too large": (413, b"GET / HTTP/1.1\r\n" + HEAD + b"Content-Length: 1001\r\n\r\n"),
    "chunked too large": (413, b"PUT / HTTP/1.1\r\n" + HEAD + CHUNKED + b"\r\n" + chunk(600) + chunk(600)),
    "one chunk too large": (413, b"PATCH / HTTP/1.1\r\n" + HEAD + CHUNKED + b"\r\n" + chunk(1001)),
    "invalid chunk": (400, b"POST / HTTP/1.1\r\n" + HEAD + CHUNKED + b"\r\n-5\r\nabc"),
    "invalid end of a chunk": (400, b"POST / HTTP/1.1\r\n" + HEAD + CHUNKED + b"\r\n3\r\nabcdef\r\n"),
    "header of 30 kB": (431, b"GET / HTTP/1.1\r\n" + HEAD + b"A: " + b"x" * 30_000 + b"\r\n\r\n"),
    "header of 30 kB, unfinished": (431, b"GET / HTTP/1.1\r\n" + HEAD + b"A: " + b"x" * 30_000),
    "headers of 30 kB": (431, b"GET / HTTP/1.1\r\n" + HEAD + (b"A: " + b"x" * 1000 + b"\r\n") * 30 + b"\r\n"),
    "200 headers": (431, b"GET / HTTP/1.1\r\n" + HEAD + b"A: b\r\n" * 200 + b"\r\n"),
    "address of 30 kB": (414, b"GET /" + b"x" * 30_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("piece", [1 << 20, 7], ids=["whole", "in pieces"])
def test_a_request_is_refused_once_with_words(client: Client, name: str, piece: int) -> None:
    status, data = REFUSED[name]
    for start in range(0, len(data), piece):
        client.send(data[start : start + piece])
    assert client.status == status
    head, _, body = client.transport.value().partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert HTTPStatus(status).phrase.encode() in body
    assert f"Content-Length: {len(body)}".encode() in head  # and nothing after it
    assert client.transport.is_half_closed
    assert client.applications == []


def test_what_follows_a_refused_request_is_not_read(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.transport.value().count(b"HTTP/1.1 ") == 1
    assert client.applications == []


def test_a_client_that_expects_100_is_refused_before_it_sends(client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert client.status == 413
    assert b"100 Continue" not in client.transport.value()


@pytest.mark.parametrize("path", [b"/large", b"/large?a=/"])
def test_the_limit_is_that_of_the_path(client: Client, path: bytes) -> None:
    client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" % path + b"x" * 1001)
    assert client.status is None
    assert client.applications[0]["path"] == "/large"


@pytest.mark.parametrize(
    "head", [b"Content-Length: 1000\r\n\r\n" + b"x" * 1000, CHUNKED + b"\r\n" + chunk(1000) + chunk(0)]
)
def test_a_body_of_exactly_the_limit_is_accepted(client: Client, head: bytes) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
    assert (client.status, len(client.applications)) == (None, 1)


def test_a_request_without_host_is_accepted_from_an_old_client(client: Client) -> None:
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (client.status, len(client.applications)) == (None, 1)


@pytest.mark.parametrize(
    "data",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: b", b"GET / HTTP/1.1\r\nHost: x\r\n"],
)
def test_a_head_must_arrive_in_time_however_it_trickles(client: Client, clock: Clock, data: bytes) -> None:
    client.send(data)
    for _ in range(19):
        clock.advance(1)
        client.send(b"a")
    assert client.status is None
    clock.advance(1)
    assert client.status == 408


@pytest.mark.parametrize("head", [b"Content-Length: 900\r\n\r\nabc", CHUNKED + b"\r\n3\r\nabc\r\n"])
def test_a_declared_body_that_does_not_come_ends_the_request(
    client: Client, clock: Clock, head: bytes
) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
    clock.advance(29)
    assert client.status is None
    clock.advance(1)
    assert client.status == 408
    assert client.applications == []


def test_a_body_that_trickles_ends_the_request(client: Client, clock: Clock) -> None:
    client.send(b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n")
    for _ in range(29):
        clock.advance(1)
        client.send(b"x" * 50)
    assert client.status is None
    clock.pump([1, 1])
    client.send(b"x")
    assert client.status == 408


def test_a_slow_body_is_accepted(client: Client, clock: Clock) -> None:
    client.send(b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n")
    for _ in range(100):
        clock.advance(1)
        client.send(b"x" * 200)
    assert (client.status, len(client.applications)) == (None, 1)


def test_a_running_request_has_no_time_out(client: Client, clock: Clock) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    clock.advance(10_000)
    assert client.status is None
    assert not client.transport.disconnecting


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_an_idle_connection_is_closed_without_a_response(client: Client, clock: Clock, first: bytes) -> None:
    if first:
        client.send(first)
        request = client.channel.requests[0]
        request.write(b"")
        request.finish()
        client.transport.clear()
    clock.advance(59)
    assert not client.transport.disconnecting
    clock.advance(1)
    assert client.transport.disconnecting
    assert client.transport.value() == b""


def test_a_second_request_has_its_own_deadline(client: Client, clock: Clock) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    clock.advance(500)
    client.send(b"GET /second HTTP/1.1\r\nHo")  # pipelined
    client.channel.requests[0].finish()
    client.transport.clear()
    clock.advance(19)
    assert client.status is None
    clock.advance(1)
    assert client.status == 408


def test_the_rest_of_a_refused_request_is_discarded_for_a_while(client: Client, clock: Clock) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(9):
        client.send(b"x" * 65536)
        clock.advance(1)
    assert not client.transport.is_aborted
    clock.advance(1)
    assert client.transport.is_aborted


def test_all_incomplete_bodies_together_are_limited_and_room_is_given_back(
    connect: Callable[[], Client],
) -> None:
    head = b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"
    first, second = connect(), connect()
    first.send(head + b"x" * 29_999)
    second.send(head + b"x" * 29_999)
    assert (first.status, second.status) == (None, 503)
    first.send(b"x")
    third = connect()
    third.send(head + b"x" * 29_999)
    assert third.status is None
    third.channel.connectionLost(None)
    assert first.factory.incomplete_bytes == 0


def test_a_full_disk_is_reported_to_the_client(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")

    class FullDisk:
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    client.channel.requests[0].content = FullDisk()
    client.send(b"x" * 10)
    assert client.status == 503
    assert client.applications == []


def test_a_head_request_is_refused_without_a_body(client: Client) -> None:
    client.send(b"HEAD / HTTP/1.1\r\n\r\n")
    assert client.transport.value().endswith(b"\r\n\r\n")
    assert client.status == 400


def test_pipelined_single_bytes_are_joined(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for byte in b"GET /second HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 500 + b"\r\n\r\n":
        client.send(bytes([byte]))
    client.channel.requests[0].finish()
    assert [scope["path"] for scope in client.applications] == ["/", "/second"]


def test_nothing_of_a_form_is_parsed(client: Client) -> None:
    form = b"a=1&b=2"
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nCookie: c=1\r\n"
    client.send(b"POST /?q=1 HTTP/1.1\r\nHost: x\r\n" + kind + b"Content-Length: 7\r\n\r\n" + form)
    request = client.channel.requests[0]
    assert (request.args, request.received_cookies) == ({}, {})
    assert client.applications[0]["query_string"] == b"q=1"
