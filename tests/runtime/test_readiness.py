"""Readiness: the database, the writer and the heartbeat; Redis may be away."""

import asyncio

import pytest

from chat.event_log.writer import ThreadWriter
from chat.models import Process
from chat.runtime.process import Runtime
from chat.runtime.readiness import ReadinessCheck
from tests.support.runtime import new_runtime

pytestmark = pytest.mark.django_db


class AwayRedis:
    async def ping(self):
        return "degraded: does not answer (ConnectionError)"


class SilentRedis:
    async def ping(self):
        await asyncio.Event().wait()


@pytest.mark.parametrize("redis", [AwayRedis(), SilentRedis()])
async def test_without_redis_a_process_is_ready_and_says_that_it_is_degraded(redis, monkeypatch):
    monkeypatch.setattr("chat.runtime.readiness.CHECK_TIMEOUT_S", 0.05)
    runtime = new_runtime()
    await runtime.heartbeat.tick()
    check = ReadinessCheck(runtime.writer, runtime.heartbeat, runtime.notifications, runtime.read, redis)
    readiness = await check()
    assert readiness.is_ready
    assert readiness.checks["redis"].startswith("degraded: does not answer")


async def test_a_redis_that_answers_but_carries_no_notices_is_degraded():
    class Redis:
        async def ping(self):
            return None

    runtime = new_runtime()
    await runtime.heartbeat.tick()
    check = ReadinessCheck(runtime.writer, runtime.heartbeat, runtime.notifications, runtime.read, Redis())
    assert (await check()).checks["redis"] == "ok"
    runtime.notifications.problem = "degraded: no notices between processes (TimeoutError)"
    assert (await check()).checks["redis"] == runtime.notifications.problem


@pytest.mark.django_db(transaction=True)
def test_ready_means_database_writer_and_tick():
    now_s = 1000.0

    async def live():
        nonlocal now_s
        runtime = Runtime(Process.Kind.SERVER, writer=ThreadWriter(), clock=lambda: now_s)
        before = await runtime.readiness()
        runtime.open()
        await runtime.heartbeat.tick()
        ready = await runtime.readiness()
        now_s += 60
        late = await runtime.readiness()
        await runtime.stop()
        return before, ready, late

    before, ready, late = asyncio.run(live())
    assert not before.is_ready
    assert ready.is_ready
    assert ready.status["breakers"] == []
    assert set(ready.checks.values()) == {"ok"}
    assert not late.is_ready
    assert "60 s ago" in late.checks["heartbeat"]
