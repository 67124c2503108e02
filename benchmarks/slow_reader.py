"""Measure server memory during a very long answer: read, not read by an open socket, and without a socket.

    python -m benchmarks.slow_reader

Each case has its own server. The client that stops reading asks, and then reads nothing from its socket
until the answer is stored; then it disconnects.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from benchmarks import environment, report
from benchmarks.client import TERMINAL, open_client
from benchmarks.memory import held_mb
from tests.support.serving import SOCKET_PATH, Server, Session

DELTAS, CHARS = 15_000, 4_000
QUESTION = f"[[deltas={DELTAS} chars={CHARS} rate=0]]"
LIMITS = {"CHATSITE_ANSWER_MAX_CHARS": "100000000", "CHATSITE_TOTAL_TIMEOUT_S": "3600"}
SAMPLE_S = 0.05
REST_S = 5
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
    with contextlib.closing(sqlite3.connect(site.data_dir / "db.sqlite3")) as database:
        await _watch(site, database, memory)
    await asyncio.sleep(REST_S)
    memory.at_rest = held_mb(site.pid)[0]
    is_over.set()
    await client_task
    await asyncio.sleep(REST_S)
    memory.without_client = held_mb(site.pid)[0]
    return memory


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


async def _watch(site: Server, database: sqlite3.Connection, memory: Memory) -> None:
    """Sample until the answer is stored. Text is streaming as long as the log grows."""
    status, logged, samples = "", 0, [memory.before]
    while status in {"", "queued", "running"}:
        await asyncio.sleep(SAMPLE_S)
        samples.append(held_mb(site.pid)[0])
        status, seq = database.execute(STATE).fetchone() or ("", None)
        if (seq or 0) > logged and status == "running":
            logged, memory.while_streaming = seq, max(samples)
    assert status == "completed", status
    memory.at_the_end = max(samples)


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    grown = {}
    for name, behave in (("read", read), ("not read", stop_reading), ("no client", leave)):
        with environment.provider() as provider, environment.server(provider.base_url, **LIMITS) as site:
            session = site.sign_in("ada")
            found = asyncio.run(measure(site, session, behave))
        grown[name] = found.while_streaming - found.before
        figures = (
            f"{found.before:.0f} → {found.while_streaming:.0f} while streaming, {found.at_the_end:.0f} "
            f"at the end, {found.at_rest:.0f} after {REST_S} s, {found.without_client:.0f} without a client"
        )
        rows.append((f"RSS in MB, {name}", figures, ""))
    more = grown["not read"] - grown["read"]
    rows.append(("growth while streaming, not read − read", f"{more:.0f} MB", "≤ 16 MB"))
    report.table(f"A slow reader of an answer of {DELTAS * CHARS / 1e6:.0f} MB", rows)


if __name__ == "__main__":
    main()
