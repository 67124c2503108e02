"""The scenario of bulk: a batch that runs here beside chats, while its processes are killed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from datetime import datetime
from typing import Any

from chatsite.settings import BASE_DIR
from tests.chaos.environment import Environment, Report
from tests.chaos.record import Record
from tests.support.programs import Program
from tests.support.provider_control import provider_text
from tests.support.serving import secret_key_of

SLOTS, STREAMS, KILLS = 32, 20, 2
# Of the whole batch, after a kill.
DEADLINE_S = 900.0
SET_UP = f"from chat.models import Endpoint; Endpoint.objects.update(slots={SLOTS})"
LINES = "SELECT state, count(*) FROM chat_batchline GROUP BY state"
BATCHES = "SELECT status, completed, failed FROM chat_batch"
ANSWERS = """
SELECT l.number, q.text, a.text, g.status FROM chat_batchline l
JOIN chat_generation g ON g.id = l.generation_id
JOIN chat_message a ON a.id = g.message_id JOIN chat_message q ON q.id = a.parent_id
"""
BULK = "SELECT count(*) FROM chat_generation WHERE source = 'batch'"
# How long each call of a chat waited for its slot.
WAITS = """
SELECT a.queued_s FROM chat_attempt a JOIN chat_generation g ON g.id = a.generation_id
WHERE a.first_delta_at IS NOT NULL AND g.source <> 'batch'
"""
# Calls that ended by themselves; the others end when their process is found dead.
WHOLE = "SELECT started_at, finished_at FROM chat_attempt WHERE outcome = 'completed'"
# Until a free slot is known to the process that waits for it, on a busy machine.
GRANT_S = 1.0


async def bulk(environment: Environment, prompts: int) -> Report:
    """Run a batch here beside twenty chats; kill the server, and the worker if there is one, twice each."""
    record = Record()
    clients = environment.clients(record)
    worker = await _worker_of(environment) if environment.redis_url else None
    environment.server.query(SET_UP)
    rows = "\n".join(f"bulk {number} [[deltas=8 rate=40]]" for number in range(prompts))
    submit = ("batch", "submit", "--user", "user0", "--model", "fake:plain", "--local")
    await asyncio.to_thread(environment.server.manage, *submit, stdin=rows)
    began_s = time.monotonic()
    programs = [each for each in (environment.server, worker) if each is not None] * KILLS
    try:
        async with environment.load(clients, STREAMS, deltas=(20, 60)):
            for number, program in enumerate(programs, 1):
                await _until_ended(environment, prompts * number // (len(programs) + 1))
                await asyncio.to_thread(program.kill9)
                await asyncio.to_thread(program.start)
            await _until_ended(environment, prompts)
            took_s = time.monotonic() - began_s
            await _until_counted(environment)
    finally:
        if worker is not None:
            await asyncio.to_thread(worker.stop)
    _check_rows(environment, record, prompts)
    longest_wait_s = _check_waits(environment, record)
    report = environment.check("bulk", clients, may_end_early=3)
    report.figures = {
        "rows": str(prompts),
        "in": f"{took_s:.0f} s",
        "killed": f"server {KILLS}×" + (f", worker {KILLS}×" if worker is not None else ""),
        "chats": str(STREAMS),
        "longest wait of a chat for its slot": f"{longest_wait_s:.2f} s",
    }
    return report


async def _worker_of(environment: Environment) -> Program:
    """Start a worker with what the server has, and wait until it is known."""
    folder = environment.server.data_dir.parent / "worker"
    folder.mkdir()
    env = environment.server.env | {"CHATSITE_SECRET_KEY": secret_key_of(environment.server)}
    command = [sys.executable, "-m", "celery", "-A", "chatsite", "worker"]
    worker = Program(command, folder=folder, env=env, cwd=BASE_DIR)
    await asyncio.to_thread(worker.start)
    end = time.monotonic() + 90
    while not environment.fetch("SELECT 1 FROM chat_process WHERE kind = 'worker'"):
        assert time.monotonic() < end, worker.log
        await asyncio.sleep(0.1)
    return worker


async def _until_ended(environment: Environment, rows: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while True:
        states = dict(await asyncio.to_thread(environment.fetch, LINES))
        if sum(count for state, count in states.items() if state not in ("waiting", "running")) >= rows:
            return
        assert time.monotonic() < end, f"waited {DEADLINE_S:g} s for {rows} rows: {states}"
        await asyncio.sleep(0.3)


async def _until_counted(environment: Environment) -> None:
    end = time.monotonic() + DEADLINE_S
    while environment.fetch(BATCHES)[0][0] == "in_progress":
        assert time.monotonic() < end, "the batch does not end"
        await asyncio.sleep(0.1)


def _check_rows(environment: Environment, record: Record, prompts: int) -> None:
    """Check that each row has one answer, which is the provider's."""
    if (found := environment.fetch(BATCHES)) != [("completed", prompts, 0)]:
        record.fail(f"the batch is {found}, not {prompts} completed")
    if (stored := environment.fetch(BULK)[0][0]) != prompts:
        record.fail(f"{prompts} rows have {stored} generations")
    for number, question, text, status in environment.fetch(ANSWERS):
        if status != "completed" or text != provider_text(environment.provider, question):
            record.fail(f"row {number} is {status}, with another text than the provider's: {text[-40:]!r}")
    questions = Counter(question for _number, question, _text, _status in environment.fetch(ANSWERS))
    record.failures += [
        f"{question} is there {count} times" for question, count in questions.items() if count > 1
    ]


def _check_waits(environment: Environment, record: Record) -> float:
    """Check that no chat waited for more than one call to end, and return the longest wait, in seconds.

    There are more slots than chats, and chats go first: a chat that finds all slots taken gets the first one
    that is free.
    """
    assert SLOTS > STREAMS
    waits = [waited_s for (waited_s,) in environment.fetch(WAITS)]
    longest_call_s = max(
        (end - start).total_seconds() for start, end in map(_times, environment.fetch(WHOLE))
    )
    record.failures += [
        f"a chat waited {wait_s:.2f} s for its slot, and the longest call took {longest_call_s:.2f} s"
        for wait_s in waits
        if wait_s > longest_call_s + GRANT_S
    ]
    return max(waits)


def _times(row: tuple[Any, ...]) -> list[datetime]:
    """Return the times of a row, which SQLite has as texts."""
    return [time if isinstance(time, datetime) else datetime.fromisoformat(time) for time in row]
