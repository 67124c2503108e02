"""Raw bytes to the real server: what it refuses, what it says, and that it then still serves others."""

import json
import re
import socket

import pytest

from tests.support.serving import Server

HOST = b"Host: 127.0.0.1\r\n"
HUGE = b"Content-Length: 104857600\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
FILES = b"Content-Type: multipart/form-data; boundary=b\r\n"


def exchange(server: Server, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the pieces on one connection, and read the response until the server closes it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        for piece in pieces:
            client.sendall(piece)
        reply = b""
        while data := client.recv(65536):
            reply += data
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def request(method: str, path: str, *headers: bytes) -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + HOST + b"".join(headers) + b"\r\n"


@pytest.fixture
def server(serve) -> Server:
    return serve()


PATHS = [
    ("POST", "/signin/"),
    ("POST", "/admin/login/"),
    ("POST", "/register/"),
    ("POST", "/ask/"),
    ("PUT", "/no/such/page"),
    ("PATCH", "/"),
    ("GET", "/healthz"),
    ("BREW", "/signin/"),
    ("POST", "/v1/chat/completions"),
    ("DELETE", "/v1/models"),
    ("POST", "/v1/no/such/url"),
]


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server):
    for method, path in PATHS:
        for kind in (FORM, FILES):
            status, headers, body = exchange(server, request(method, path, HUGE, kind))
            assert status == 413, path
            if path.startswith("/v1/"):
                assert json.loads(body)["error"]["code"] == "request_too_large"
            else:
                assert headers["content-type"] == "text/html; charset=utf-8"
                assert b"Go back in your browser" in body


def test_a_body_without_a_length_is_refused_while_it_comes(server):
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for path in ("/signin/", "/v1/models"):
        chunked = request("POST", path, b"Transfer-Encoding: chunked\r\n", FORM)
        assert exchange(server, chunked, piece * 3)[0] == 413


def test_a_client_that_sends_everything_first_still_reads_the_response(server):
    size = 20_000_000
    length = f"Content-Length: {size}\r\n".encode()
    assert exchange(server, request("POST", "/signin/", length, FORM), b"x" * size)[0] == 413


def test_requests_that_are_no_valid_http_are_refused_with_words(server):
    long = b"Cookie: " + b"x" * 30_000 + b"\r\n"
    for status, data in (
        (400, b"GET /healthz HTTP/1.1\r\n\r\n"),
        (400, request("POST", "/signin/", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
        (400, request("POST", "/signin/", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n")),
        (431, request("GET", "/healthz", long)),
        (431, request("GET", "/healthz", b"A: b\r\n" * 200)),
    ):
        found, headers, body = exchange(server, data)
        assert (found, headers["connection"]) == (status, "close")
        assert b"Request refused" in body
    assert server.visitor().get("/healthz").text == "ok"
    assert "Traceback" not in server.log


def test_a_foreign_host_gets_a_page_and_one_line_in_the_log(server):
    before = len(server.log.splitlines())
    status, _headers, body = exchange(
        server, b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert (status, b"CHATSITE_ALLOWED_HOSTS" in body) == (400, True)
    server.visitor().get("/healthz")
    lines = server.log.splitlines()[before:]
    assert len(lines) == 1
    assert "evil.example" in lines[0]


def test_pipelined_requests_are_answered_in_order(server):
    data = request("GET", "/healthz") * 50 + request("GET", "/no/such", b"Connection: close\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(data)
        reply = b""
        while piece := client.recv(65536):
            reply += piece
    statuses = re.findall(rb"HTTP/1.1 (\d+) ", reply)
    assert statuses == [b"200"] * 50 + [b"404"]
