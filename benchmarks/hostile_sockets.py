"""Measure how far apart the ticks of the heartbeat are while one signed-in user misuses 64 sockets.

    python -m benchmarks.hostile_sockets

Each attack has its own server, with one long answer in its log. Wanted: ticks less than 2 s apart.
"""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks import environment, report
from benchmarks.client import open_client
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
    async for _message in socket:
        pass


async def attack(
    site: Server, session: Session, how: Callable[[ClientConnection, int], Awaitable[None]]
) -> float:
    """Attack with SOCKETS sockets, delete the session in the middle, return the longest gap between ticks."""
    async with open_client(session) as client:
        answer = await client.ask(LONG)
    watching = asyncio.create_task(_longest_gap_s(site))
    sockets = [asyncio.create_task(_one(session, how, answer.ids["generation"])) for _ in range(SOCKETS)]
    await asyncio.sleep(ATTACK_S / 2)
    await asyncio.to_thread(
        site.shell, "from django.contrib.sessions.models import Session; Session.objects.all().delete()"
    )
    await asyncio.gather(*sockets)
    await asyncio.sleep(ATTACK_S / 2)  # what the closing of the sockets costs belongs to the attack
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return _gaps[site.base_url]


_gaps: dict[str, float] = {}


async def _one(
    session: Session, how: Callable[[ClientConnection, int], Awaitable[None]], generation: int
) -> None:
    url = session.base_url.replace("http", "ws") + SOCKET_PATH
    # A server that has stopped reading would hold the client in `send`.
    with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
        async with (
            asyncio.timeout(ATTACK_S),
            connect(url, additional_headers=session.headers, max_size=None, close_timeout=1) as socket,
        ):
            await how(socket, generation)


async def _longest_gap_s(site: Server) -> None:
    """Sample the counter in the server's row; keep the longest time between two changes."""
    with contextlib.closing(sqlite3.connect(site.data_dir / "db.sqlite3")) as database:
        counter, since_s = None, time.monotonic()
        while True:
            (now,) = await asyncio.to_thread(lambda: database.execute(COUNTER).fetchone())
            gap_s = time.monotonic() - since_s
            if counter is not None:
                _gaps[site.base_url] = max(_gaps.get(site.base_url, 0.0), gap_s)
            if now != counter:
                counter, since_s = now, time.monotonic()
            await asyncio.sleep(SAMPLE_S)


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
