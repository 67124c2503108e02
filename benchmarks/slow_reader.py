"""Measure server memory during a very long answer: read, not read by an open socket, and without a socket.

    python -m benchmarks.slow_reader [--postgresql]

Each case has its own server. The client that stops reading asks, and then reads nothing from its socket
until the answer is stored; then it disconnects. Afterwards its conversation is opened, and its text copied.

The peak is what the kernel has noted of the server, and the most that its child processes had at once.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import environment, report
from benchmarks.client import TERMINAL, open_client
from benchmarks.memory import held_mb
from tests.support import services
from tests.support.serving import SOCKET_PATH, Server, Session

DELTAS, CHARS = 15_000, 4_000
QUESTION = f"[[deltas={DELTAS} chars={CHARS} rate=0]]"
LIMITS = {"CHATSITE_ANSWER_MAX_CHARS": "100000000", "CHATSITE_TOTAL_TIMEOUT_S": "3600"}
SAMPLE_S = 0.01
REST_S = 5
NEWEST = "SELECT conversation_id, id FROM chat_message ORDER BY id DESC LIMIT 1"
# The second generation: the first is the warm-up.
STATE = """
SELECT status, (SELECT max(seq) FROM chat_delta_log WHERE generation_id = chat_generation.id)
FROM chat_generation ORDER BY id LIMIT 1 OFFSET 1
"""


@dataclass
class Memory:
    """RSS in MB at different times."""

    before: float
    while_streaming: float = 0.0
    at_the_end: float = 0.0
    at_rest: float = 0.0
    without_client: float = 0.0
    children: float = 0.0
    page: float = 0.0
    source: float = 0.0


def forget_peak(pid: int) -> None:
    """Begin the kernel's note of the peak again (Linux)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """Return the most RSS since `forget_peak`."""
    return _status_mb(pid, "VmHWM")


def children_mb(pid: int) -> float:
    """Return the RSS of the child processes."""
    found = 0.0
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            found += sum(_status_mb(int(child), "VmRSS") for child in path.read_text().split())
    return found


def _status_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name)), 0.0)


async def read(socket: ClientConnection, is_over: asyncio.Event) -> None:
    """Read and acknowledge each frame."""
    async for message in socket:
        frame = json.loads(message)
        if "seq" in frame:
            ack = {"type": "ack", "generation": frame["generation"], "seq": frame["seq"]}
            await socket.send(json.dumps(ack))
        if frame["type"] in TERMINAL:
            break
    await is_over.wait()


async def stop_reading(socket: ClientConnection, is_over: asyncio.Event) -> None:
    """Read nothing: the socket's small queue fills first, then the kernel's buffers."""
    await is_over.wait()


async def leave(socket: ClientConnection, is_over: asyncio.Event) -> None:
    """Disconnect when the question is acknowledged."""
    await socket.recv()


async def measure(
    site: Server, session: Session, behave: Callable[[ClientConnection, asyncio.Event], Awaitable[None]]
) -> Memory:
    """Ask for the long answer with a client that behaves like `behave`."""
    async with open_client(session) as client:
        await client.ask("Hello [[deltas=40 rate=0]]")
    await asyncio.sleep(1)
    memory = Memory(before=held_mb(site.pid)[0])
    is_over = asyncio.Event()
    client_task = asyncio.create_task(_open(session, behave, is_over))
    with contextlib.closing(_database(site)) as database:
        await _watch(site, database, memory)
        await asyncio.sleep(REST_S)
        memory.at_rest = held_mb(site.pid)[0]
        is_over.set()
        await client_task
        await asyncio.sleep(REST_S)
        memory.without_client = held_mb(site.pid)[0]
        conversation, message = database.execute(NEWEST).fetchone()
    memory.page, size = await _peak_of(site, session, f"/c/{UUID(str(conversation))}/")
    memory.source, size = await _peak_of(site, session, f"/m/{message}/source/")
    assert size == DELTAS * CHARS, size
    return memory


async def _peak_of(site: Server, session: Session, path: str) -> tuple[float, int]:
    """Request a page; return the peak of the server meanwhile, and the characters of the body."""
    forget_peak(site.pid)
    reply = await asyncio.to_thread(session.get, path, timeout_s=120)
    assert reply.status == 200, (path, reply.status)
    peak = peak_mb(site.pid)
    await asyncio.sleep(REST_S)
    return peak, len(reply.text)


def _database(site: Server) -> Any:
    if url := site.env.get("DATABASE_URL"):
        return psycopg.connect(url, autocommit=True)
    return sqlite3.connect(site.data_dir / "db.sqlite3")


async def _open(
    session: Session,
    behave: Callable[[ClientConnection, asyncio.Event], Awaitable[None]],
    is_over: asyncio.Event,
) -> None:
    headers = {name: value for name, value in session.headers.items() if name != "Origin"}
    url = "ws" + session.base_url.removeprefix("http") + SOCKET_PATH
    async with connect(
        url,
        origin=session.base_url,
        additional_headers=headers,
        proxy=None,
        compression=None,
        ping_interval=None,
        max_size=None,
        max_queue=1,
        close_timeout=1,
    ) as socket:
        await socket.send(json.dumps({"type": "ask", "client_id": uuid4().hex, "text": QUESTION}))
        await behave(socket, is_over)


async def _watch(site: Server, database: Any, memory: Memory) -> None:
    """Sample until the answer is stored. Text is streaming as long as the log grows."""
    status, logged, children = "", 0, [children_mb(site.pid)]
    forget_peak(site.pid)
    while status in {"", "queued", "running"}:
        await asyncio.sleep(SAMPLE_S)
        peak = peak_mb(site.pid)
        children.append(children_mb(site.pid))
        status, seq = database.execute(STATE).fetchone() or ("", None)
        if (seq or 0) > logged and status == "running":
            logged, memory.while_streaming = seq, peak
    assert status == "completed", status
    memory.at_the_end, memory.children = peak_mb(site.pid), max(children) - children[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", action="store_true", help="use a private PostgreSQL")
    server = services.run_postgres() if parser.parse_args().postgresql else contextlib.nullcontext()
    with server as postgres:
        _report(postgres)


def _migrate(site: Server) -> None:
    site.manage("migrate", "-v", "0")


def _report(postgres: services.Postgres | None) -> None:
    rows: list[tuple[str, str, str]] = []
    grown = {}
    for name, behave in (("read", read), ("not read", stop_reading), ("no client", leave)):
        env = LIMITS | ({"DATABASE_URL": postgres.create()} if postgres is not None else {})
        with (
            environment.provider() as provider,
            environment.server(provider.base_url, before=_migrate, **env) as site,
        ):
            session = site.sign_in("ada")
            found = asyncio.run(measure(site, session, behave))
        grown[name] = found.while_streaming - found.before
        figures = (
            f"{found.before:.0f} → {found.while_streaming:.0f} while streaming, {found.at_the_end:.0f} "
            f"at the end (children + {found.children:.0f}), {found.at_rest:.0f} after {REST_S} s, "
            f"{found.without_client:.0f} without a client"
        )
        rows.append((f"RSS in MB, {name}", figures, ""))
        more = found.at_the_end - found.while_streaming + found.children
        rows.append((f"the end adds, {name}", f"{more:.0f} MB", "≤ 16 MB"))
        rows.append((f"page, source, {name}", f"peak {found.page:.0f}, {found.source:.0f} MB", ""))
    more = grown["not read"] - grown["read"]
    rows.append(("growth while streaming, not read − read", f"{more:.0f} MB", "≤ 16 MB"))
    database = "PostgreSQL" if postgres is not None else "SQLite"
    report.table(f"A slow reader of an answer of {DELTAS * CHARS / 1e6:.0f} MB, {database}", rows)


if __name__ == "__main__":
    main()
