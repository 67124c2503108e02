"""A minute's outage with fifty people, in real time: what it costs the provider, and who is answered.

Wanted: at most 1.2 calls a message from the first failure on, and 95 % of the messages answered within a
minute of the outage's end.

python -m benchmarks.outage
"""

import asyncio
import json
import time
import urllib.request

from benchmarks import stage

PEOPLE = 50
OUTAGE_S = 60.0
# They ask one after the other, in the first half of it.
ASKING_S = 30.0
DEADLINE_S = 200


async def person(page: stage.Page, number: int, answer: stage.Answer) -> None:
    await asyncio.sleep(ASKING_S * number / PEOPLE)
    await page.ask(f"person {number} [[deltas=10]]", answer)


async def one_run(site: stage.Server, provider: stage.Provider) -> dict[str, float]:
    sessions = await asyncio.to_thread(stage.people, site, PEOPLE)
    async with stage.pages(sessions) as pages:
        answers = [stage.Answer() for _ in pages]
        control(provider, "script", {"do": "status=503", "for_s": OUTAGE_S, "path": "/v1/chat/completions"})
        began = time.monotonic()
        async with asyncio.timeout(DEADLINE_S):
            people = zip(pages, answers, strict=True)
            await asyncio.gather(*(person(page, n, answer) for n, (page, answer) in enumerate(people)))
    until = began + OUTAGE_S * 2
    ends = [answer.ended for answer in answers if answer.outcome == "completed"]
    return {
        "calls": len(json.loads(control(provider, "requests"))["requests"]),
        "answered": sum(end is not None and end <= until for end in ends),
        "last_s": max(ends, default=began) - began - OUTAGE_S,
    }


def control(provider: stage.Provider, path: str, body: object = None) -> str:
    url = f"{provider.base_url.removesuffix('/v1')}/control/{path}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.read().decode()


def main() -> None:
    with stage.provider() as provider, stage.server(provider.base_url) as site:
        run = asyncio.run(one_run(site, provider))
    stage.table(
        f"An outage of {OUTAGE_S:g} s with {PEOPLE} people",
        [
            ("calls", f"{run['calls']}", f"≤ {PEOPLE * 1.2:g}"),
            ("answered within a minute of its end", f"{run['answered']}", f"≥ {PEOPLE * 0.95:g}"),
            ("last answer after its end", f"{run['last_s']:.1f} s", ""),
        ],
    )


if __name__ == "__main__":
    main()
