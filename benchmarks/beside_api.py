"""Measure the time to first text of chat users while 200 API calls use an endpoint with 50 slots.

    python -m benchmarks.beside_api

Twenty users ask at the same time, alternately alone and while the calls wait for slots. Each of the five
rounds gives the median of its twenty answers.
"""

import asyncio
from collections.abc import Sequence

import aiohttp

from benchmarks import environment, report
from benchmarks.client import Client, open_clients
from tests.support.serving import Server, Session

CALLS, USERS, SLOTS, ROUNDS = 200, 20, 50, 5
LIMITS = {
    "CHATSITE_RUNNING_PER_KEY": "1000",
    "CHATSITE_API_RUNNING_PER_USER": "1000",
    "CHATSITE_ASKS_PER_MINUTE_PER_KEY": "100000",
}
# The first delta arrives at once, the last after a second.
ANSWER = "[[deltas=9 rate=8]]"


async def first_text_s(clients: Sequence[Client], name: str) -> float:
    """Return the median time from question to first text."""
    answers = await asyncio.gather(*(client.ask(f"{name} {n} {ANSWER}") for n, client in enumerate(clients)))
    assert all(answer.outcome == "completed" for answer in answers)
    return report.median([(answer.first_text or 0.0) - answer.sent for answer in answers])


async def call(http: aiohttp.ClientSession, text: str) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": text}]}
    async with http.post("/v1/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()


async def measure(site: Server, sessions: Sequence[Session], key: str) -> tuple[list[float], list[float]]:
    """Return the medians of the rounds, alone and beside the calls."""
    alone, beside = [], []
    options = {"headers": {"Authorization": f"Bearer {key}"}, "connector": aiohttp.TCPConnector(limit=0)}
    async with open_clients(sessions) as clients, aiohttp.ClientSession(site.base_url, **options) as http:
        await first_text_s(clients, "warm up")
        for number in range(ROUNDS):
            alone.append(await first_text_s(clients, f"alone {number}"))
            calls = [asyncio.create_task(call(http, f"call {number} {n} {ANSWER}")) for n in range(CALLS)]
            # When one has ended, all slots are in use and the other calls are queued.
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            beside.append(await first_text_s(clients, f"beside {number}"))
            await asyncio.gather(*calls)
    return alone, beside


def main() -> None:
    with (
        environment.provider() as provider,
        environment.server(provider.base_url, **LIMITS) as site,
    ):
        sessions = environment.sign_in_many(site, USERS)
        site.sign_in("program")
        key = site.manage("api_key", "--user", "program", "--name", "benchmark").strip()
        site.shell(f"from chat.models import Endpoint; Endpoint.objects.update(slots={SLOTS})")
        alone, beside = asyncio.run(measure(site, sessions, key))
    rows = []
    measured = (("alone", alone, ""), (f"beside {CALLS} calls at {SLOTS} slots", beside, "≤ 1.3 × alone"))
    for name, rounds, wanted in measured:
        each = ", ".join(map(report.ms, rounds))
        rows.append((f"{USERS} users, {name}", f"{report.ms(report.median(rounds))} ({each})", wanted))
    report.table("First text of users beside API calls", rows)


if __name__ == "__main__":
    main()
