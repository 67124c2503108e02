"""Tasks on the server's loop: from any thread, in a context of their own, forgotten when they end."""

import asyncio
import contextvars
import logging
import threading

import pytest
from django.tasks import task
from django.tasks.base import TaskResultStatus

from chat.runtime import process as process_module
from chat.runtime.process import current_runtime
from chat.runtime.task_backends.celery import broker_priority
from chat.runtime.task_backends.local import AsyncioBackend, TaskPriority
from tests.support.runtime import open_runtime

seen: asyncio.Queue = asyncio.Queue()
variable = contextvars.ContextVar("variable", default="unset")


@task
async def tell(word):
    await seen.put((word, asyncio.current_task().get_name(), variable.get()))


@task
def tell_from_a_thread(word, loop_thread):
    assert threading.get_ident() != loop_thread
    current_runtime().loop.call_soon_threadsafe(seen.put_nowait, word)


@task
async def fail(word):
    raise ValueError("what somebody wrote")


@task
async def wait_for_ever():
    await seen.put("waiting")
    await asyncio.Event().wait()


@task(priority=50, takes_context=True)
async def tell_priority(context):
    await seen.put(context.task_result.task.priority)


@pytest.fixture(autouse=True)
def _own_queue(settings, db):
    global seen
    seen = asyncio.Queue()
    settings.TASKS = {"default": {"BACKEND": "chat.runtime.task_backends.local.AsyncioBackend"}}


def test_the_backend_is_the_default_one():
    assert isinstance(tell.get_backend(), AsyncioBackend)


def test_a_broker_reads_what_is_more_urgent_first():
    order = [broker_priority(each) for each in (100, *sorted(TaskPriority, reverse=True), -100)]
    assert order == sorted(order)
    assert (order[0], order[-1], len(set(order))) == (0, 9, 5)


def test_without_a_server_a_task_stays_ready():
    assert tell.enqueue("a").status == TaskResultStatus.READY
    assert seen.empty()


async def test_a_task_runs_on_the_loop_under_its_name_and_in_a_context_of_its_own():
    async with open_runtime():
        variable.set("of the request")
        await tell.aenqueue("a")
        assert await seen.get() == ("a", "tell(a)", "unset")


async def test_a_task_can_be_started_from_a_thread():
    async with open_runtime():
        await asyncio.to_thread(tell.enqueue, "a")
        assert (await seen.get())[0] == "a"


async def test_a_function_runs_in_a_thread_of_its_own():
    async with open_runtime():
        tell_from_a_thread.enqueue("a", threading.get_ident())
        assert await seen.get() == "a"


async def test_priority_and_context_are_passed_on():
    async with open_runtime():
        tell_priority.enqueue()
        assert await seen.get() == 50


async def test_a_failure_is_logged_without_what_it_says(caplog):
    async with open_runtime() as runtime:
        fail.enqueue("7")
        await runtime.tasks.wait()
        await asyncio.sleep(0)
        assert "fail(7) failed: ValueError" in caplog.text
        assert "somebody" not in caplog.text.replace('raise ValueError("what somebody wrote")', "")


async def test_ended_tasks_are_forgotten():
    async with open_runtime() as runtime:
        for _ in range(100):
            tell.enqueue("a")
        await runtime.tasks.wait()
        await asyncio.sleep(0)
        assert len(runtime.tasks) == 0


async def test_more_tasks_than_fit_are_left_to_the_heartbeat(monkeypatch, caplog):
    monkeypatch.setattr(process_module, "TASKS_MAX", 1)
    async with open_runtime() as runtime:
        wait_for_ever.enqueue()
        assert tell.enqueue("a").status == TaskResultStatus.READY
        assert len(runtime.tasks) == 1
        assert "tell(a) was not started: too many tasks" in caplog.text
        await runtime.tasks.close()


async def test_closing_cancels_what_does_not_end_and_starts_nothing_more(caplog):
    caplog.set_level(logging.DEBUG, "chat.runtime.task_backends.local")
    async with open_runtime() as runtime:
        wait_for_ever.enqueue()
        assert await seen.get() == "waiting"
        await runtime.tasks.close()
        assert len(runtime.tasks) == 0
        tell.enqueue("a")
        assert "tell(a) was not started: closing" in caplog.text
