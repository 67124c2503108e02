"""Servers and a real Celery worker on PostgreSQL and Redis: who does what, once, and never too much."""

import json
import subprocess
import sys

import pytest
import redis

from tests.support.environment import repeats
from tests.support.programs import Program, find, free_port, is_listening, running, until
from tests.support.provider_control import requests_of
from tests.support.serving import BASE_DIR, secret_key_of
from tests.support.socket_client import ask, end_of

pytestmark = pytest.mark.services

SLOTS = 16
CALLS = repeats(1000)
PREPARE = f"""
from django.contrib.auth import get_user_model
from chat.models import Endpoint
Endpoint.objects.update(slots={SLOTS})
get_user_model().objects.create_user("bulk")
"""
BEGIN_BULK = """
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from chat import tasks
from chat.models import Model
from chat.models.api_request import ApiRequest
user = get_user_model().objects.get(username="bulk")
texts = [f"{batch} {{n}} [[deltas=9 rate=20]]" for n in range({count})]
asked = [ApiRequest([{{"role": "user", "content": text}}]) for text in texts]
model = Model.objects.select_related("endpoint").get()
ids = async_to_sync(tasks.start_bulk)(user, model, asked, batch_id="{batch}")
print(len(ids))
"""
# A worker that was killed is not noticed at once, however long this command takes.
WORKER_SEEMS_ALIVE = """
from chat.models import Process
Process.objects.create(id="killed", kind="worker", host="h", pid=1)
"""
STATES = """
import json
from django.db.models import Count, Q
from chat.models import Generation
bulk = Generation.objects.filter(source="batch")
answered = Count("attempts", filter=Q(attempts__outcome="completed"))
print(json.dumps([
    bulk.count(),
    bulk.filter(status="completed").count(),
    bulk.annotate(answered=answered).filter(answered=1).count(),
    bulk.filter(message__text="").count(),
]))
"""


ENQUEUE = """
from chat.models import Process
from chat.runtime.task_backends.local import TaskPriority
from tests.support.queue_tasks import note
Process.objects.create(id="worker", kind="worker", host="h", pid=1)
for n in range(3):
    for priority in (TaskPriority.BULK, TaskPriority.INTERACTIVE, TaskPriority.API):
        note.using(priority=priority).enqueue({path!r}, priority.name)
Process.objects.filter(pk="worker").delete()
"""


def worker_command(*options):
    return [sys.executable, "-m", "celery", "-A", "chatsite", "worker", *options]


def worker_of(server, folder, *options):
    folder.mkdir()
    return Program(worker_command(*options), folder=folder, env=server.env, cwd=BASE_DIR)


def kinds(server):
    code = "from chat.models import Process; print(*Process.objects.values_list('kind', flat=True))"
    return sorted(server.query(code).split())


def begin_bulk(server, count, batch="a", *, before=""):
    assert server.shell(before + BEGIN_BULK.format(count=count, batch=batch)) == str(count)


def states(server):
    """Return how many bulk generations there are, completed, with exactly one answer, and empty."""
    return json.loads(server.query(STATES))


def most_at_once(provider):
    """Return how many calls were in progress at the provider at the same time, at most."""
    records = requests_of(provider)
    calls = [record for record in records if record["path"].endswith("/chat/completions")]
    moments = [(record["at_s"], 1) for record in calls]
    moments += [(record["ended_s"] or record["left_s"], -1) for record in calls]
    running = most = 0
    for _at_s, step in sorted(moments):
        running += step
        most = max(most, running)
    return most, len(calls)


@pytest.fixture
def first(serve, provider, postgres_url, redis_url):
    """Return a server of several; more of them take its `env`."""
    env = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "CHATSITE_PROCESS_DEAD_AFTER_S": "4",
        "CHATSITE_INTERACTIVE_SHARE": "0",
    }
    server = serve(provider.env_for_server | env, is_started=False)
    server.manage("migrate", "-v", "0")
    server.start()
    server.env["CHATSITE_SECRET_KEY"] = secret_key_of(server)
    server.query(PREPARE)
    return server


@pytest.fixture
def worker(first, tmp_path):
    with running(worker_of(first, tmp_path / "worker")) as program:
        until(lambda: "worker" in kinds(first), "the worker to be known", deadline_s=40)
        yield program


def test_many_calls_are_made_once_though_their_worker_is_killed_twice(first, worker, serve, provider):
    serve({name: first.env[name] for name in ENV} | provider.env_for_server)
    begin_bulk(first, CALLS)
    with first.sign_in().socket() as socket:
        for enough in (CALLS // 5, CALLS // 2):
            until(lambda enough=enough: states(first)[1] >= enough, "some answers", deadline_s=60)
            worker.kill9()
            person = ask(socket, f"after {enough} [[deltas=5]]")
            assert end_of(socket, person["generation"])["type"] == "completed"
            worker.start()
        until(lambda: states(first)[1] == CALLS, "all answers", deadline_s=120)
    assert states(first) == [CALLS, CALLS, CALLS, 0]
    most, calls = most_at_once(provider)
    assert most <= SLOTS
    assert calls <= CALLS + 2 + 2 * SLOTS


def test_tasks_run_in_the_order_of_their_priorities(first, tmp_path):
    notes = tmp_path / "notes"
    notes.touch()
    first.shell(ENQUEUE.format(path=str(notes)))
    with running(worker_of(first, tmp_path / "worker", "--concurrency", "1")):
        until(lambda: len(notes.read_text().split()) == 9, "nine tasks", deadline_s=40)
    assert notes.read_text().split() == ["INTERACTIVE"] * 3 + ["API"] * 3 + ["BULK"] * 3


def test_bulk_whose_messages_were_lost_or_came_twice_is_answered_once(first, worker, redis_url):
    worker.kill9()
    begin_bulk(first, 20, before=WORKER_SEEMS_ALIVE)
    with redis.Redis.from_url(redis_url) as connection:
        assert any(key.startswith(b"chatsite:tasks") for key in connection.scan_iter())
        connection.flushall()
    worker.start()
    begin_bulk(first, 20)
    begin_bulk(first, 20)
    until(lambda: states(first)[1] == 20, "all answers", deadline_s=60)
    assert states(first) == [20, 20, 20, 0]


def test_a_worker_that_is_told_to_end_hands_its_answers_over_and_signs_off(first, worker):
    begin_bulk(first, 60)
    until(lambda: states(first)[1] >= 5, "some answers", deadline_s=60)
    assert worker.terminate() == 0
    assert kinds(first) == ["server"]
    until(lambda: states(first)[1] == 60, "the server's answers", deadline_s=60)
    assert states(first) == [60, 60, 60, 0]


def test_chats_go_on_when_redis_is_gone_and_readyz_says_so(serve, provider, tmp_path):
    port = free_port()
    command = [find("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with running(Program(command, folder=tmp_path)) as program:
        program.until(lambda: is_listening(port), "Redis to listen")
        server = serve(provider.env_for_server | {"REDIS_URL": f"redis://127.0.0.1:{port}/0"})
        with server.sign_in().socket() as socket:
            before = ask(socket, "with Redis [[deltas=5]]")
            assert end_of(socket, before["generation"])["type"] == "completed"
            assert readyz(server)["checks"]["redis"] == "ok"
            program.kill9()
            for n in range(3):
                after = ask(socket, f"without Redis, {n} [[deltas=5]]")
                assert end_of(socket, after["generation"])["type"] == "completed"
            body = readyz(server)
            assert body["ready"]
            assert "does not answer" in body["checks"]["redis"]
            program.start()
            program.until(lambda: is_listening(port), "Redis to listen")
            again = ask(socket, "with Redis again [[deltas=20 rate=5]]")
            assert end_of(socket, again["generation"])["type"] == "completed"
            assert readyz(server)["checks"]["redis"] == "ok"


def readyz(server):
    return server.visitor().get("/readyz").json()


@pytest.mark.parametrize(
    ("redis_url", "options", "said"),
    [
        ("", (), "A worker needs Redis: set REDIS_URL"),
        ("redis://127.0.0.1:9/0", ("--pool", "solo"), "omit --pool"),
        ("redis://127.0.0.1:9/0", (), "Has manage.py migrate been run?"),
    ],
)
def test_a_worker_that_cannot_work_says_what_to_do(serve, redis_url, options, said):
    server = serve({"REDIS_URL": redis_url}, is_started=False, is_prepared=False)
    done = subprocess.run(
        worker_command(*options), cwd=BASE_DIR, env=server.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


ENV = (
    "CHATSITE_INTERACTIVE_SHARE",
    "DATABASE_URL",
    "REDIS_URL",
    "CHATSITE_PROCESS_DEAD_AFTER_S",
    "CHATSITE_SECRET_KEY",
)
