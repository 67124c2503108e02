"""The liveness probe is answered without Django, and only for the hosts of this site."""

import pytest

from chatsite.probe import Probe


async def answer(method="GET", path="/healthz", hosts=(b"localhost:8000",)):
    """Return what the probe sends, or None if it passes the request on."""
    sent, passed = [], []

    async def application(scope, receive, send):
        passed.append(scope)

    async def send(message):
        sent.append(message)

    headers = [(b"host", host) for host in hosts]
    await Probe(application)({"path": path, "method": method, "headers": headers}, None, send)
    assert bool(sent) != bool(passed)
    return (sent[0]["status"], sent[1]["body"]) if sent else None


@pytest.fixture(autouse=True)
def _hosts(settings):
    settings.ALLOWED_HOSTS = ["localhost", "[::1]"]


async def test_the_probe_of_an_allowed_host_is_answered():
    assert await answer() == (200, b"ok")
    assert await answer(hosts=[b"[::1]:80"]) == (200, b"ok")
    assert await answer("HEAD") == (200, b"")


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "POST"},
        {"path": "/healthz/"},
        {"path": "/"},
        {"hosts": []},
        {"hosts": [b"evil.example"]},
        {"hosts": [b"localhost", b"localhost"]},
        {"hosts": [b"\xff"]},
        {"hosts": [b""]},
    ],
)
async def test_everything_else_is_left_to_django(request_):
    assert await answer(**request_) is None
