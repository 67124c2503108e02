"""Measure how far apart the ticks of the heartbeat are while one signed-in user misuses 64 sockets.

    python -m benchmarks.hostile_sockets

Each attack has its own server, with one long answer in its log. Wanted: ticks less than 2 s apart.
"""

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks import environment, report
from benchmarks.client import TERMINAL
from tests.support.serving import SOCKET_PATH, Server, Session

SOCKETS = 64
LONG = "[[deltas=3000 chars=1000 rate=0]]"
LIMITS = {"CHATSITE_ANSWER_MAX_CHARS": "100000000"}
ATTACK_S = 10.0
SAMPLE_S = 0.02
WANTED_S = 2.0
COUNTER = "SELECT counter FROM chat_process WHERE kind = 'server'"


async def stop_reading(socket: ClientConnection, generation: int) -> None:
    """Ask for the whole log in every way a socket may, and read none of it."""
    for number in range(20):
        await socket.send(json.dumps({"type": "follow", "generation": generation, "after": number}))
    await asyncio.sleep(ATTACK_S)


async def flood_follows(socket: ClientConnection, generation: int) -> None:
    """Ask for the log from its beginning, again and again."""
    frame = json.dumps({"type": "follow", "generation": generation, "after": 0})
    await _flood(socket, frame)


async def flood_large_frames(socket: ClientConnection, generation: int) -> None:
    """Send nonsense of almost the largest size."""
    await _flood(socket, json.dumps({"type": "ask", "client_id": "x", "text": ["x" * 250_000]}))


async def flood_pings(socket: ClientConnection, generation: int) -> None:
    await _flood(socket, '{"type":"ping"}')


async def _flood(socket: ClientConnection, frame: str) -> None:
    end_s = time.monotonic() + ATTACK_S
    reading = asyncio.create_task(_discard(socket))
    while time.monotonic() < end_s:
        await socket.send(frame)
    reading.cancel()


async def _discard(socket: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _message in socket:
            pass


async def attack(
    site: Server, session: Session, how: Callable[[ClientConnection, int], Awaitable[None]]
) -> float:
    """Attack with SOCKETS sockets, delete the session in the middle, return the longest gap between ticks."""
    generation = await _store_long_answer(session)
    is_over = threading.Event()
    watching = asyncio.create_task(asyncio.to_thread(_longest_gap_s, site, is_over))
    sockets = [asyncio.create_task(_one(session, how, generation)) for _ in range(SOCKETS)]
    await asyncio.sleep(ATTACK_S / 2)
    await asyncio.to_thread(
        site.shell, "from django.contrib.sessions.models import Session; Session.objects.all().delete()"
    )
    await asyncio.gather(*sockets)
    await asyncio.sleep(ATTACK_S / 2)  # what the closing of the sockets costs belongs to the attack
    is_over.set()
    return await watching


async def _store_long_answer(session: Session) -> int:
    """Ask for a long answer, and acknowledge every event until its end."""
    async with connect(_url(session), additional_headers=session.headers, max_size=None) as socket:
        await socket.send(json.dumps({"type": "ask", "client_id": "long", "text": LONG}))
        async for message in socket:
            frame = json.loads(message)
            if frame["type"] in TERMINAL:
                return int(frame["generation"])
            if "seq" in frame:
                ack = {"type": "ack", "generation": frame["generation"], "seq": frame["seq"]}
                await socket.send(json.dumps(ack))
    raise RuntimeError("the socket was closed before the answer ended")


def _url(session: Session) -> str:
    return "ws" + session.base_url.removeprefix("http") + SOCKET_PATH


async def _one(
    session: Session, how: Callable[[ClientConnection, int], Awaitable[None]], generation: int
) -> None:
    # A server that has stopped reading would hold the client in `send`.
    with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
        async with (
            asyncio.timeout(ATTACK_S),
            connect(
                _url(session), additional_headers=session.headers, max_size=None, close_timeout=1
            ) as socket,
        ):
            await how(socket, generation)


def _longest_gap_s(site: Server, is_over: threading.Event) -> float:
    """Sample the counter in the server's row; return the longest time between two changes."""
    longest_s, counter, since_s = 0.0, None, time.monotonic()
    with contextlib.closing(sqlite3.connect(site.data_dir / "db.sqlite3")) as database:
        while not is_over.wait(SAMPLE_S):
            (now,) = database.execute(COUNTER).fetchone()
            if counter is not None:
                longest_s = max(longest_s, time.monotonic() - since_s)
            if now != counter:
                counter, since_s = now, time.monotonic()
    return longest_s


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    for how in (stop_reading, flood_follows, flood_large_frames, flood_pings):
        with environment.provider() as provider, environment.server(provider.base_url, **LIMITS) as site:
            gap_s = asyncio.run(attack(site, site.sign_in(), how))
            name = f"longest time between ticks, {how.__name__.replace('_', ' ')}"
            rows.append((name, f"{gap_s:.2f} s", f"< {WANTED_S:g} s"))
    report.table(f"One user misuses {SOCKETS} sockets", rows)


if __name__ == "__main__":
    main()
