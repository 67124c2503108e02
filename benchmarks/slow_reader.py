"""What a very long answer costs the server's memory: read, not read by an open page, and with no page.

    python -m benchmarks.slow_reader

Each of the three has a server of its own. The page that stops reading asks and then takes nothing more
from its socket, until the answer is stored; then it goes.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from benchmarks import stage
from benchmarks.memory import held_mb
from tests.support.serving import SOCKET_PATH, Server, Session

DELTAS, CHARS = 15_000, 4_000
QUESTION = f"[[deltas={DELTAS} chars={CHARS} rate=0]]"
LIMITS = {"CHATSITE_ANSWER_MAX_CHARS": "100000000", "CHATSITE_TOTAL_TIMEOUT_S": "3600"}
SAMPLE_S = 0.05
REST_S = 5
# Of the second generation: the first is to warm up.
STATE = """
SELECT status, (SELECT max(seq) FROM chat_delta_log WHERE generation_id = chat_generation.id)
FROM chat_generation ORDER BY id LIMIT 1 OFFSET 1
"""


@dataclass
class Memory:
    """RSS in MB at the times that matter."""

    before: float
    while_text_came: float = 0.0
    at_the_end: float = 0.0
    at_rest: float = 0.0
    without_the_page: float = 0.0


async def read(socket: ClientConnection, is_over: asyncio.Event) -> None:
    """Read, and acknowledge each frame: they are large."""
    async for message in socket:
        frame = json.loads(message)
        if "seq" in frame:
            said = {"type": "ack", "generation": frame["generation"], "seq": frame["seq"]}
            await socket.send(json.dumps(said))
        if frame["type"] in stage.TERMINAL:
            break
    await is_over.wait()


async def stop_reading(socket: ClientConnection, is_over: asyncio.Event) -> None:
    """Take nothing from the socket: its small queue is full after some frames, then the kernel's."""
    await is_over.wait()


async def leave(socket: ClientConnection, is_over: asyncio.Event) -> None:
    """Close the page once the question is acknowledged."""
    await socket.recv()


async def measure(
    site: Server, session: Session, behave: Callable[[ClientConnection, asyncio.Event], Awaitable[None]]
) -> Memory:
    """Ask for the long answer with a page that behaves so."""
    async with stage.page(session) as page:
        await page.ask("Hello [[deltas=40 rate=0]]")
    await asyncio.sleep(1)
    memory = Memory(before=held_mb(site.pid)[0])
    is_over = asyncio.Event()
    page_task = asyncio.create_task(_open(session, behave, is_over))
    with contextlib.closing(sqlite3.connect(site.data_dir / "db.sqlite3")) as database:
        await _watch(site, database, memory)
    await asyncio.sleep(REST_S)
    memory.at_rest = held_mb(site.pid)[0]
    is_over.set()
    await page_task
    await asyncio.sleep(REST_S)
    memory.without_the_page = held_mb(site.pid)[0]
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
    """Sample until the answer is stored. Text comes as long as the log grows."""
    status, logged, samples = "", 0, [memory.before]
    while status in {"", "queued", "running"}:
        await asyncio.sleep(SAMPLE_S)
        samples.append(held_mb(site.pid)[0])
        status, seq = database.execute(STATE).fetchone() or ("", None)
        if (seq or 0) > logged and status == "running":
            logged, memory.while_text_came = seq, max(samples)
    assert status == "completed", status
    memory.at_the_end = max(samples)


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    grown = {}
    for name, behave in (("read", read), ("not read", stop_reading), ("no page", leave)):
        with stage.provider() as provider, stage.server(provider.base_url, **LIMITS) as site:
            session = site.sign_in("ada")
            found = asyncio.run(measure(site, session, behave))
        grown[name] = found.while_text_came - found.before
        figures = (
            f"{found.before:.0f} → {found.while_text_came:.0f} while text came, {found.at_the_end:.0f} "
            f"at the end, {found.at_rest:.0f} after {REST_S} s, {found.without_the_page:.0f} without the page"
        )
        rows.append((f"RSS in MB, {name}", figures, ""))
    more = grown["not read"] - grown["read"]
    rows.append(("growth while text came, not read − read", f"{more:.0f} MB", "≤ 16 MB"))
    stage.table(f"A slow reader of an answer of {DELTAS * CHARS / 1e6:.0f} MB", rows)


if __name__ == "__main__":
    main()
