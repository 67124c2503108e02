"""Measure steady answers from the first question to the last end, beside a relay that stores nothing.

    python -m benchmarks.streams

Each answer has 80 deltas at 20 a second; 50 users, and one user alone. Every delta is the time at which the
provider sent it, so that the time to the user's socket is known. CPU is that of the server, start and end
of the answers included. The two servers are measured alternately.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import environment, report
from benchmarks.client import Answer, open_clients
from benchmarks.durability import WARM_UP, relay
from tests.support.programs import Program
from tests.support.serving import Session

CROWDS = (50, 1)
DELTAS, RATE = 80, 20
ANSWER = f"[[stamp rate={RATE} deltas={DELTAS}]]"


@dataclass(frozen=True)
class StreamsFigures:
    """What one round of answers cost: CPU of the server, and delays between provider and socket."""

    cpu_us_per_delta: float
    first_delay_s: float
    # Sorted.
    delays_s: list[float]

    def __str__(self) -> str:
        p50, p99 = (self.delays_s[len(self.delays_s) * share // 100] * 1000 for share in (50, 99))
        return (
            f"{self.cpu_us_per_delta:.0f} µs a delta, delay p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"first word {self.first_delay_s * 1000:.1f} ms"
        )


async def stream(program: Program, sessions: Sequence[Session], name: str) -> StreamsFigures:
    """Let every session ask once, at the same moment."""
    async with open_clients(sessions) as clients:
        await clients[0].ask(f"{name} {WARM_UP}")
        cpu_s = environment.cpu_s(program.pid)
        answers = await asyncio.gather(
            *(client.ask(f"{name} {n} {ANSWER}") for n, client in enumerate(clients))
        )
        cpu_s = environment.cpu_s(program.pid) - cpu_s
    assert all(answer.outcome == "completed" for answer in answers)
    delays = [delay for answer in answers for delay in delays_of(answer)]
    assert len(delays) == DELTAS * len(answers)
    first = report.median([delays_of(answer)[0] for answer in answers])
    return StreamsFigures(cpu_s / len(delays) * 1e6, first, sorted(delays))


def delays_of(answer: Answer) -> list[float]:
    """Return how long each delta took from the provider to the socket, in seconds."""
    return [
        arrived - float(sent)
        for arrived, text in zip(answer.arrived, answer.texts, strict=True)
        for sent in text.split()
    ]


def main() -> None:
    rows = []
    with (
        environment.provider() as provider,
        environment.server(provider.base_url) as site,
        relay(provider.base_url) as (bare, visitor),
    ):
        sessions = environment.sign_in_many(site, max(CROWDS))
        for count in CROWDS:
            for number in range(environment.REPEATS):
                ours = asyncio.run(stream(site, sessions[:count], f"{count} {number}"))
                theirs = asyncio.run(stream(bare, [visitor] * count, f"{count} {number}"))
                rows.append((f"{count} × {RATE}/s, round {number + 1}: Chatsite", str(ours), ""))
                rows.append((f"{count} × {RATE}/s, round {number + 1}: relay", str(theirs), ""))
    report.table(f"Answers of {DELTAS} deltas from start to end", rows)


if __name__ == "__main__":
    main()
