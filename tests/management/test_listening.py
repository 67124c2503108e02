"""The port of a server, and the URL that it prints."""

import socket
from contextlib import closing

import pytest

from chat.management import listening
from chat.management.listening import CannotListen, listen, local_url
from tests.support.programs import free_port


def port_of(opened: socket.socket) -> int:
    return opened.getsockname()[1]


def test_a_free_port_is_used():
    port = free_port()
    with closing(listen("127.0.0.1", port)) as opened:
        assert port_of(opened) == port


def test_instead_of_a_taken_port_the_next_free_one_is_used():
    first = listen("127.0.0.1", free_port())
    with closing(first), closing(listen("127.0.0.1", port_of(first))) as second:
        assert port_of(second) > port_of(first)


def test_a_port_is_taken_if_a_server_listens_on_it_on_all_addresses():
    first = listen("0.0.0.0", free_port())
    with closing(first), closing(listen("127.0.0.1", port_of(first))) as second:
        assert port_of(second) > port_of(first)


def test_a_port_with_lingering_connections_can_be_used_again():
    first = listen("127.0.0.1", free_port())
    port = port_of(first)
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = first.accept()
    accepted.close()  # our side closes first, so the connection lingers here
    client.close()
    first.close()
    with closing(listen("127.0.0.1", port)) as second:
        assert port_of(second) == port


def test_after_the_last_port_there_is_an_error(monkeypatch):
    monkeypatch.setattr(listening, "is_answered", lambda *_: True)
    with pytest.raises(CannotListen, match="taken"):
        listen("127.0.0.1", 65_535)


@pytest.mark.parametrize("host", ["no.such.name.invalid", "192.0.2.1", "\udc80"])
def test_a_host_that_is_not_this_machine_is_refused(host):
    with pytest.raises(CannotListen, match=r"address|listen"):
        listen(host, 8000)


@pytest.mark.parametrize(
    ("host", "allowed", "shown"),
    [
        ("127.0.0.1", ["chat.example.org"], "127.0.0.1"),
        ("127.0.0.2", ["localhost"], "127.0.0.2"),
        ("0.0.0.0", ["localhost", "127.0.0.1"], "127.0.0.1"),
        ("0.0.0.0", [".example.org", "chat.example.org"], "chat.example.org"),
    ],
)
def test_the_host_of_the_url_is_allowed(settings, host, allowed, shown):
    settings.ALLOWED_HOSTS = list(allowed)
    with closing(listen(host, 0)) as opened:
        assert local_url(opened) == f"http://{shown}:{port_of(opened)}"
    assert shown in settings.ALLOWED_HOSTS


@pytest.mark.parametrize(("host", "is_beyond"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_socket_on_all_addresses_can_be_reached_by_other_machines(host, is_beyond):
    with closing(listen(host, 0)) as opened:
        assert listening.is_beyond_this_machine(opened) is is_beyond
