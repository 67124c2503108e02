"""Responses to the probes of supervisors and load balancers."""

from chat.runtime import heartbeat
from chat.runtime.heartbeat import Readiness


def test_alive_needs_no_database_and_no_session(client):
    # No `db` fixture: a query would fail this test.
    response = client.get("/healthz")

    assert (response.status_code, response.content) == (200, b"ok")
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies


def test_ready_says_what_was_checked_and_what_operators_see(client, db, monkeypatch):
    checks = {"database": "ok", "writer": "ok", "heartbeat": "ok"}
    monkeypatch.setattr(heartbeat, "readiness", lambda: Readiness(True, checks, {"running": 2}))

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"ready": True, "checks": checks, "status": {"running": 2}}
    assert response.headers["Cache-Control"] == "no-store"


def test_not_ready_is_503_and_says_why(client, db, monkeypatch):
    monkeypatch.setattr(heartbeat, "readiness", lambda: Readiness(False, {"writer": "is stuck"}))

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["checks"] == {"writer": "is stuck"}


def test_a_probe_with_a_foreign_host_name_is_refused(client):
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 400
