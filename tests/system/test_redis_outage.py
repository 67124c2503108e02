"""Redis is away or silent: sockets open, chats go on, and readiness says that the server is degraded."""

import contextlib
import socket as sockets
import threading

import pytest

from tests.support.programs import free_port, until
from tests.support.serving import secret_key_of
from tests.support.socket_client import ask, whole


@contextlib.contextmanager
def silent_server():
    """Accept connections on a port, read what comes, and never answer."""
    listening = sockets.create_server(("127.0.0.1", 0))
    accepted = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listening.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        # `shutdown` wakes the thread that waits in `accept`.
        with contextlib.suppress(OSError):
            listening.shutdown(sockets.SHUT_RDWR)
        listening.close()
        for connection in accepted:
            connection.close()
        thread.join()


@contextlib.contextmanager
def nothing_there():
    yield free_port()


@pytest.mark.parametrize("redis", [nothing_there, silent_server])
def test_a_chat_goes_on_without_redis(serve, provider, redis):
    with redis() as port:
        server = serve(provider.env_for_server | {"REDIS_URL": f"redis://127.0.0.1:{port}/0"})
        session = server.sign_in()
        with session.socket() as one, session.socket() as two:
            two.send('{"type": "watch"}')
            started = ask(one, "hello [[deltas=20]]")
            assert started["type"] == "accepted"
            assert len(whole(one, started["generation"])) == 80
            # Pages of the same process need no Redis to learn of each other's changes.
            assert '"changed"' in two.recv(timeout=30)
        readiness = session.get("/readyz")
        assert readiness.status == 200
        assert readiness.json()["checks"]["redis"].startswith("degraded: does not answer")


@pytest.mark.services
def test_pages_of_two_servers_poll_while_redis_is_away(serve, provider, postgres_url):
    env = provider.env_for_server | {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    first = serve(env, is_started=False)
    first.manage("migrate", "-v", "0")
    first.start()
    secret = secret_key_of(first)
    second = serve(env | {"CHATSITE_SECRET_KEY": secret})
    session = first.sign_in()
    there = second.visitor()
    there.cookies.update(session.cookies)
    until(lambda: len(second_status(second)) == 2, "the servers to know each other")
    with session.socket() as here, there.socket() as other:
        other.send('{"type": "watch"}')
        started = ask(here, "hello")
        changed = other.recv(timeout=30)
    assert started["conversation"] in changed


def second_status(server):
    code = "from chat.models import Process; print(*Process.objects.values_list('pk', flat=True))"
    return server.query(code).split()
