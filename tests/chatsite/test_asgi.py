"""Which pages may open a websocket."""

import pytest
from channels.testing import WebsocketCommunicator

from chat.views import origins
from chatsite.asgi import is_same_origin, websocket


def scope(host: str, origin: str | None) -> dict:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return {"type": "websocket", "path": "/ws/", "headers": headers}


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "https://chat.example.org"),  # PUBLIC_URL: a proxy in front terminates TLS
        ("chat.example.org", "https://chat.example.org:443"),
    ],
)
def test_a_page_of_this_site_may_connect(settings, host, origin):
    settings.PUBLIC_URL = "https://chat.example.org"
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "chat.example.org"]
    assert is_same_origin(scope(host, origin))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", None),
        ("127.0.0.1:8000", "null"),
        ("127.0.0.1:8000", ""),
        ("127.0.0.1:8000", "http://127.0.0.1:9000"),
        ("127.0.0.1:8000", "http://127.0.0.1"),
        ("127.0.0.1:8000", "https://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://evil.example"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000.evil.example"),
        ("127.0.0.1:8000", "http://127.0.0.1:99999"),
        ("evil.example:8000", "http://evil.example:8000"),  # a foreign name that resolves to this machine
        ("", "http://"),
    ],
)
def test_any_other_page_may_not(settings, host, origin):
    settings.PUBLIC_URL = ""
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    assert not is_same_origin(scope(host, origin))


def test_a_trusted_proxy_that_ends_tls_makes_the_address_https(settings):
    settings.PUBLIC_URL = ""
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    secure = scope("chat.example.org", "https://chat.example.org") | {"scheme": "wss"}
    assert is_same_origin(secure)
    assert not is_same_origin(secure | {"scheme": "ws"})


@pytest.mark.parametrize(
    ("origin", "is_reported"), [("https://chat.example.org", True), ("https://evil.example", False)]
)
async def test_a_socket_that_is_refused_because_of_a_proxy_is_logged_with_what_to_do(
    settings, caplog, monkeypatch, origin, is_reported
):
    monkeypatch.setattr(origins, "reported", set())
    settings.PUBLIC_URL = ""
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    communicator = WebsocketCommunicator(websocket, "/ws/", [
        (b"host", b"chat.example.org"), (b"origin", origin.encode()),
    ])  # fmt: skip
    for _n in range(2):
        assert not (await communicator.connect())[0]
        communicator = WebsocketCommunicator(websocket, "/ws/", communicator.scope["headers"])
    assert caplog.text.count("set CHATSITE_PUBLIC_URL") == is_reported
