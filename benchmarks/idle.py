"""Measure 1,000 open sockets on which nothing happens: memory, CPU, and the CPU to open one.

    python -m benchmarks.idle

Beside a bare relay (relay.py). The sockets belong to 100 users, who have ten each.
"""

import asyncio
import time
from collections.abc import Sequence

from benchmarks import environment, report
from benchmarks.client import open_clients
from benchmarks.durability import relay
from benchmarks.memory import held_mb
from tests.support.programs import Program
from tests.support.serving import Session

SOCKETS, USERS = 1_000, 100
SETTLE_S, WATCH_S = 3, 20


async def hold(program: Program, sessions: Sequence[Session]) -> tuple[float, float, float]:
    """Return KiB per socket, the share of a core that all take, and CPU milliseconds to open one."""
    async with open_clients(sessions[:USERS]):  # what the first connection of a user loads stays
        await asyncio.sleep(SETTLE_S)
    before_mb, cpu_s = held_mb(program.pid)[0], environment.cpu_s(program.pid)
    async with open_clients(sessions):
        opening_s = environment.cpu_s(program.pid) - cpu_s
        await asyncio.sleep(SETTLE_S)
        kib = (held_mb(program.pid)[0] - before_mb) * 1e6 / 1024 / len(sessions)
        cpu_s, started_s = environment.cpu_s(program.pid), time.monotonic()
        await asyncio.sleep(WATCH_S)
        share = (environment.cpu_s(program.pid) - cpu_s) / (time.monotonic() - started_s)
    return kib, share, opening_s / len(sessions) * 1000


def main() -> None:
    rounds: dict[str, list[tuple[float, float, float]]] = {"Chatsite": [], "relay": []}
    with environment.provider() as provider:
        for _ in range(environment.REPEATS):
            with environment.server(provider.base_url) as site:
                users = environment.sign_in_many(site, USERS)
                rounds["Chatsite"].append(asyncio.run(hold(site, users * (SOCKETS // USERS))))
            with relay(provider.base_url) as (bare, visitor):
                rounds["relay"].append(asyncio.run(hold(bare, [visitor] * SOCKETS)))
    rows = []
    for column, name, unit, wanted in (
        (0, "memory of a socket", "{:.1f} KiB", "≤ 36 KiB, 1.35 × the relay"),
        (1, "CPU of all", "{:.2%} of a core", "≤ 1 %"),
        (2, "CPU to open one", "{:.2f} ms", "≤ 1.5 ms, 2.5 × the relay"),
    ):
        for server, figures in rounds.items():
            each = ", ".join(unit.format(figure[column]) for figure in figures)
            rows.append((f"{name}: {server}", each, wanted if server == "Chatsite" else ""))
    report.table(f"{SOCKETS} idle sockets of {USERS} users", rows)


if __name__ == "__main__":
    main()
