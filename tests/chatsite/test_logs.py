"""What is logged about readiness: each change, and nothing at each probe."""

import logging

import pytest

from chat.runtime.readiness import Readiness, ReadinessCheck
from tests.support.runtime import new_runtime

UNREADY = Readiness(False, {"writer": "is stuck"})


@pytest.fixture
def log(caplog):
    """Return pytest's log, with the changes of readiness at INFO."""
    caplog.set_level(logging.INFO, logger="chat.runtime.readiness")
    return caplog


def test_a_probe_that_finds_the_process_not_ready_logs_no_error(client, log, monkeypatch):
    async def check(self):
        return UNREADY

    monkeypatch.setattr(ReadinessCheck, "__call__", check)
    for _ in range(3):
        assert client.get("/readyz").status_code == 503
    assert log.records == []


def test_an_error_inside_the_probe_is_still_logged(client, log, monkeypatch):
    async def check(self):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(ReadinessCheck, "__call__", check)
    client.raise_request_exception = False
    assert client.get("/readyz").status_code == 500
    assert [record.levelname for record in log.records] == ["ERROR"]


@pytest.mark.django_db
async def test_each_change_of_readiness_is_logged_once(log, monkeypatch):
    runtime = new_runtime()
    await runtime.heartbeat.tick()
    problems = [None, None, "is stuck", "is stuck", None, None, "is stuck"]
    monkeypatch.setattr(type(runtime.writer), "problem", lambda self: problems.pop(0))
    while problems:
        await runtime.readiness()
    assert [(record.levelname, record.getMessage()) for record in log.records] == [
        ("WARNING", "Not ready: writer is stuck"),
        ("INFO", "Ready again."),
        ("WARNING", "Not ready: writer is stuck"),
    ]
