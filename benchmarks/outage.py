"""Measure calls and answers of fifty users during an outage of one minute, in real time.

Wanted: at most 1.2 calls per message after the first failure, and 95 % of the messages answered within a
minute after the outage.

    python -m benchmarks.outage
"""

import asyncio
import time

from benchmarks import environment, report
from benchmarks.client import Answer, Client, open_clients
from tests.support.provider_control import control, requests_of
from tests.support.serving import Provider, Server

USERS = 50
OUTAGE_S = 60.0
# The users ask one after the other, in the first half of the outage.
ASKING_S = 30.0
DEADLINE_S = 200


async def ask_later(client: Client, number: int, answer: Answer) -> None:
    await asyncio.sleep(ASKING_S * number / USERS)
    await client.ask(f"user {number} [[deltas=10]]", answer)


async def one_run(site: Server, provider: Provider) -> dict[str, float]:
    sessions = await asyncio.to_thread(environment.sign_in_many, site, USERS)
    async with open_clients(sessions) as clients:
        answers = [Answer() for _ in clients]
        control(provider, "script", {"do": "status=503", "for_s": OUTAGE_S, "path": "/v1/chat/completions"})
        began = time.monotonic()
        async with asyncio.timeout(DEADLINE_S):
            pairs = zip(clients, answers, strict=True)
            await asyncio.gather(*(ask_later(client, n, answer) for n, (client, answer) in enumerate(pairs)))
    until = began + OUTAGE_S * 2
    ends = [answer.ended for answer in answers if answer.outcome == "completed"]
    return {
        "calls": len(requests_of(provider)),
        "answered": sum(end is not None and end <= until for end in ends),
        "last_s": max(ends, default=began) - began - OUTAGE_S,
    }


def main() -> None:
    with environment.provider() as provider, environment.server(provider.base_url) as site:
        run = asyncio.run(one_run(site, provider))
    report.table(
        f"An outage of {OUTAGE_S:g} s with {USERS} users",
        [
            ("calls", f"{run['calls']}", f"≤ {USERS * 1.2:g}"),
            ("answered within a minute after its end", f"{run['answered']}", f"≥ {USERS * 0.95:g}"),
            ("last answer after its end", f"{run['last_s']:.1f} s", ""),
        ],
    )


if __name__ == "__main__":
    main()
