"""Measure what an exchange costs when little is said: one message, an answer of one delta.

    python -m benchmarks.exchange

CPU of the server per exchange, Chatsite and the bare relay (relay.py), start and end included. Ten users
ask one after the other, so that as many exchanges run at once: first each time in a new conversation and
without a page, then in one conversation each, with the frame by which an open page reads the ended answer.
The servers are measured alternately.
"""

import asyncio
from collections.abc import Sequence

from benchmarks import environment, report
from benchmarks.client import Client, open_clients
from benchmarks.durability import relay
from tests.support.programs import Program
from tests.support.serving import Session

USERS, EXCHANGES = 10, 40
ANSWER = "[[deltas=1 rate=0 chars=20]]"


async def exchange(
    program: Program, sessions: Sequence[Session], name: str, *, with_page: bool = False
) -> tuple[float, float]:
    """Return CPU milliseconds per exchange, and the median seconds to the first text."""
    async with open_clients(sessions) as clients:
        await asyncio.gather(
            *(client.ask(f"warm up {name} {n} {ANSWER}") for n, client in enumerate(clients))
        )
        cpu_s = environment.cpu_s(program.pid)
        waits = await asyncio.gather(
            *(_ask_often(client, f"{name} {n}", with_page=with_page) for n, client in enumerate(clients))
        )
        cpu_s = environment.cpu_s(program.pid) - cpu_s
    return cpu_s / (USERS * EXCHANGES) * 1000, report.median([wait for each in waits for wait in each])


async def _ask_often(client: Client, name: str, *, with_page: bool) -> list[float]:
    """Ask and wait for the answer EXCHANGES times; with a page, read each one as it does."""
    waits, conversation = [], None
    for number in range(EXCHANGES):
        answer = await client.ask(f"{name} {number} {ANSWER}", conversation=conversation)
        assert answer.outcome == "completed", answer.outcome
        waits.append((answer.first_text or 0.0) - answer.sent)
        if with_page:
            conversation = answer.ids["conversation"]
            assert await client.read(answer.ids["message"])
    return waits


def main() -> None:
    with (
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
        relay(provider.base_url) as (bare, visitor),
    ):
        sessions = environment.sign_in_many(site, USERS)
        ours, pages, theirs = [], [], []
        for number in range(environment.REPEATS):
            ours.append(asyncio.run(exchange(site, sessions, f"round {number}")))
            pages.append(asyncio.run(exchange(site, sessions, f"page {number}", with_page=True)))
            theirs.append(asyncio.run(exchange(bare, [visitor] * USERS, f"round {number}")))
    rows = [
        (
            name,
            ", ".join(f"{cpu_ms:.1f} ms CPU, first text after {report.ms(wait)}" for cpu_ms, wait in rounds),
            wanted,
        )
        for name, rounds, wanted in (
            ("Chatsite", ours, "≤ 1.5 × the relay"),
            ("Chatsite with an open page", pages, "≤ 2.5 × the relay"),
            ("relay", theirs, ""),
        )
    ]
    report.table(f"One exchange, {USERS} users at a time", rows)


if __name__ == "__main__":
    main()
