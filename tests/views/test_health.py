"""The health endpoints, for supervisors and load balancers."""

import pytest

from chat.runtime.readiness import Readiness, ReadinessCheck


@pytest.fixture
def readiness_is(monkeypatch):
    """Return a function that sets the result of the check."""

    def set_result(result):
        async def check(self):
            return result

        monkeypatch.setattr(ReadinessCheck, "__call__", check)

    return set_result


def test_alive_needs_no_database_and_no_session(client):
    # No `db` fixture: a query would fail this test.
    response = client.get("/healthz")

    assert (response.status_code, response.content) == (200, b"ok")
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies


def test_ready_says_what_was_checked_and_what_operators_see(client, readiness_is):
    checks = {"database": "ok", "writer": "ok", "heartbeat": "ok"}
    readiness_is(Readiness(True, checks, {"running": 2}))

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"ready": True, "checks": checks, "status": {"running": 2}}
    assert response.headers["Cache-Control"] == "no-store"


def test_not_ready_is_503_and_says_why(client, readiness_is):
    readiness_is(Readiness(False, {"writer": "is stuck"}))

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["checks"] == {"writer": "is stuck"}


def test_a_probe_with_a_foreign_host_name_is_refused(client):
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 400
