"""Measure the first words of many users who ask at the same moment.

    python -m benchmarks.rush

Time from question to first text with 50 and with 200 users, Chatsite and the bare relay (relay.py).
"""

import asyncio
from collections.abc import Sequence

from benchmarks import environment, report
from benchmarks.client import open_clients
from benchmarks.durability import relay
from tests.support.serving import Session

CROWDS = (50, 200)
ANSWER = "[[deltas=20 rate=20]]"


async def rush(sessions: Sequence[Session], name: str) -> list[float]:
    """Return the seconds to the first text, for each user, in order of length."""
    async with open_clients(sessions) as clients:
        await clients[0].ask(f"warm up {name} {ANSWER}")
        answers = await asyncio.gather(
            *(client.ask(f"{name} {n} {ANSWER}") for n, client in enumerate(clients))
        )
    assert all(answer.outcome == "completed" for answer in answers)
    return sorted((answer.first_text or 0.0) - answer.sent for answer in answers)


def main() -> None:
    rows = []
    with (
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
        relay(provider.base_url) as (_bare, visitor),
    ):
        sessions = environment.sign_in_many(site, max(CROWDS))
        for count, wanted in zip(CROWDS, ("≤ 25 ms", "≤ 250 ms"), strict=True):
            ours, theirs = [], []
            for number in range(environment.REPEATS):
                ours.append(asyncio.run(rush(sessions[:count], f"{count} {number}")))
                theirs.append(asyncio.run(rush([visitor] * count, f"{count} {number}")))
            for name, rounds in (("Chatsite", ours), ("relay", theirs)):
                middle = [waits[len(waits) // 2] for waits in rounds]
                each = ", ".join(map(report.ms, middle))
                late = report.ms(report.median([waits[len(waits) * 95 // 100] for waits in rounds]))
                figure = f"p50 {report.ms(report.median(middle))} ({each}), p95 {late}"
                rows.append((f"{count} at once: {name}", figure, wanted if name == "Chatsite" else ""))
    report.table("Question sent → first text", rows)


if __name__ == "__main__":
    main()
