"""What 200 calls of programs at an endpoint of 50 slots cost people who chat beside them: time to first text.

    python -m benchmarks.beside_api

Twenty people ask at once, in turns alone and while the calls wait for the slots. Each of the five rounds
gives the median of its twenty.
"""

import asyncio
from collections.abc import Sequence

import aiohttp

from benchmarks import stage
from tests.support.serving import Server, Session

CALLS, PEOPLE, SLOTS, ROUNDS = 200, 20, 50, 5
LIMITS = {
    "CHATSITE_RUNNING_PER_KEY": "1000",
    "CHATSITE_API_RUNNING_PER_USER": "1000",
    "CHATSITE_ASKS_PER_MINUTE_PER_KEY": "100000",
}
# The first delta comes at once, the last after a second.
ANSWER = "[[deltas=9 rate=8]]"


async def first_text_s(pages: Sequence[stage.Page], name: str) -> float:
    """Return the median time from a person's question to the first text of its answer."""
    answers = await asyncio.gather(*(page.ask(f"{name} {n} {ANSWER}") for n, page in enumerate(pages)))
    assert all(answer.outcome == "completed" for answer in answers)
    return stage.median([(answer.first_text or 0.0) - answer.asked for answer in answers])


async def call(http: aiohttp.ClientSession, text: str) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": text}]}
    async with http.post("/v1/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()


async def measure(site: Server, sessions: Sequence[Session], key: str) -> tuple[list[float], list[float]]:
    """Return the medians of the rounds, alone and beside the calls."""
    alone, beside = [], []
    options = {"headers": {"Authorization": f"Bearer {key}"}, "connector": aiohttp.TCPConnector(limit=0)}
    async with stage.pages(sessions) as pages, aiohttp.ClientSession(site.base_url, **options) as http:
        await first_text_s(pages, "warm up")
        for number in range(ROUNDS):
            alone.append(await first_text_s(pages, f"alone {number}"))
            calls = [asyncio.create_task(call(http, f"call {number} {n} {ANSWER}")) for n in range(CALLS)]
            # One is over: all slots are taken, and the rest is in line.
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            beside.append(await first_text_s(pages, f"beside {number}"))
            await asyncio.gather(*calls)
    return alone, beside


def main() -> None:
    with (
        stage.provider() as provider,
        stage.server(provider.base_url, **LIMITS) as site,
    ):
        sessions = stage.people(site, PEOPLE)
        site.sign_in("program")
        key = site.manage("api_key", "--user", "program", "--name", "benchmark").strip()
        site.shell(f"from chat.models import Endpoint; Endpoint.objects.update(slots={SLOTS})")
        alone, beside = asyncio.run(measure(site, sessions, key))
    rows = []
    for name, rounds in (("alone", alone), (f"beside {CALLS} calls at {SLOTS} slots", beside)):
        each = ", ".join(map(stage.ms, rounds))
        rows.append((f"{PEOPLE} people, {name}", f"{stage.ms(stage.median(rounds))} ({each})", ""))
    stage.table("Question sent → first text", rows)


if __name__ == "__main__":
    main()
