"""The embedded model's supervision, with children that misbehave, and once with the real one."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from chat.local_model import child
from chat.local_model.supervisor import LocalModel, ModelState

OBEDIENT = "import sys; print('{\"port\": 7}', flush=True); sys.stdin.read()"


def model_of(script: str, **options) -> LocalModel:
    return LocalModel([sys.executable, "-c", script], **{"backoffs_s": (0, 0, 0), **options})


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_a_ready_child_gives_a_base_url_and_a_key_and_ends_with_stop():
    model = model_of(OBEDIENT)
    model.start()
    assert model.state is ModelState.STARTING
    assert await model.wait_ready()
    assert (model.base_url, model.message) == ("http://127.0.0.1:7/v1", "")
    pid = model.pid
    await model.stop()
    assert not is_alive(pid)
    assert model.base_url == ""


async def test_a_child_that_crashes_is_started_four_times_with_backoff_and_then_has_failed():
    waits = []

    async def sleep(wait_s):
        waits.append(wait_s)

    model = model_of("raise SystemExit(3)", backoffs_s=(1, 4, 16), sleep=sleep)
    model.start()
    assert not await model.wait_ready()
    assert waits == [1, 4, 16]
    assert "code 3" in model.message
    assert "OPENAI_API_KEY" in model.message


async def test_a_child_that_dies_later_is_restarted():
    restarting = asyncio.Event()

    async def sleep(wait_s):
        restarting.set()

    model = model_of(OBEDIENT, sleep=sleep)
    model.start()
    await model.wait_ready()
    first = model.pid
    os.kill(first, signal.SIGKILL)
    await restarting.wait()
    assert model.state is ModelState.STARTING
    assert model.base_url == ""
    assert await model.wait_ready()
    assert model.base_url == "http://127.0.0.1:7/v1"
    assert model.pid != first
    await model.stop()


async def test_a_child_that_is_never_ready_is_killed_and_has_failed():
    model = model_of(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        ready_within_s=0.2,
        backoffs_s=(),
    )
    model.start()
    assert not await model.wait_ready()
    assert "not ready within 0.2 s" in model.message
    assert model.pid is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('print(\'{"error": "it needs a processor with AVX2"}\')', "AVX2"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "AVX2"),
    ],
)
async def test_a_final_failure_is_not_retried(script, words):
    async def sleep(wait_s):
        raise AssertionError("it was retried")

    model = model_of(script, backoffs_s=(1,), sleep=sleep)
    model.start()
    assert not await model.wait_ready()
    assert words in model.message


async def test_a_command_that_does_not_exist_is_a_failure_not_an_exception():
    model = LocalModel(["/nowhere/python"], backoffs_s=())
    model.start()
    assert not await model.wait_ready()
    assert "could not be started" in model.message


async def test_the_child_sees_no_secrets(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    script = (
        "import json, os, sys; found = [n for n in os.environ if n.startswith(('OPENAI', 'DATABASE'))];"
        "print(json.dumps({'error': str(found + sys.argv)}))"
    )
    model = model_of(script)
    model.start()
    await model.wait_ready()
    assert model.message.startswith("['-c'].")


def test_the_child_imports_neither_django_nor_openai_nor_its_supervisor():
    unwanted = "{'django', 'openai', 'daphne', 'xllamacpp', 'chat.local_model.supervisor'}"
    script = f"import chat.local_model.child, sys; print(sorted({unwanted} & {{*sys.modules}}))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


@pytest.mark.embedded
def test_the_real_child_reports_its_port_and_exits_when_its_input_ends():
    process = subprocess.Popen(
        [sys.executable, "-m", "chat.local_model.child"],
        env={**os.environ, child.KEY_VARIABLE: "key"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert set(json.loads(process.stdout.readline())) == {"port"}
        process.stdin.close()
        assert process.wait(5) == 0
    finally:
        process.kill()


@pytest.mark.embedded
async def test_the_real_model_streams_an_answer_to_clients_with_the_key():
    model = LocalModel()
    model.start()
    assert await model.wait_ready(), model.message
    with pytest.raises(urllib.error.HTTPError, match="401"):
        await asyncio.to_thread(stream_answer, model.base_url, "wrong")
    lines = await asyncio.to_thread(stream_answer, model.base_url, model.api_key)
    deltas = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    text = "".join(delta["choices"][0]["delta"].get("content") or "" for delta in deltas)
    assert text.strip()
    assert lines[-1] == b"data: [DONE]"
    assert deltas[0]["model"] == child.NAME
    await model.stop()


def stream_answer(base_url: str, key: str) -> list[bytes]:
    body = {
        "model": child.NAME,
        "stream": True,
        "max_tokens": 16,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Say hello."},
        ],
    }
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return [line.strip() for line in response if line.strip()]
