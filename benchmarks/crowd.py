"""200 people send their first message in the same second.

python -m benchmarks.crowd
"""

import asyncio
import contextlib
import time

from benchmarks import stage

PEOPLE = 200
BEHAVIOUR = "[[deltas=40 rate=20]]"
DEADLINE_S = 90

COUNT = """
from chat.models import Generation, Message
print(Message.objects.filter(role="user").count())
print(Message.objects.filter(role="assistant").exclude(text="").count())
print(Generation.objects.filter(status="completed").count())
"""


async def one_run(site: stage.Server, sessions: list[stage.Session]) -> dict[str, object]:
    began = time.monotonic()
    async with stage.pages(sessions) as pages:
        connected_s = time.monotonic() - began
        await asyncio.sleep(1)
        answers = [stage.Answer() for _ in pages]
        cpu = stage.cpu_s(site.pid)
        asked = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(
                    *(
                        page.ask(f"Hello from {number} {BEHAVIOUR}", answer)
                        for number, (page, answer) in enumerate(zip(pages, answers, strict=True))
                    )
                )
        took_s = time.monotonic() - asked
        cpu = stage.cpu_s(site.pid) - cpu
    stored, texts, completed = map(int, (await asyncio.to_thread(site.shell, COUNT)).split())
    return {
        "connect": connected_s,
        "accepted": [answer.accepted - answer.asked for answer in answers if answer.accepted],
        "first": [answer.first_text - answer.asked for answer in answers if answer.first_text],
        "wrong": [answer.outcome or "no end" for answer in answers if answer.outcome != "completed"],
        "stored": stored,
        "answered": min(texts, completed),
        "cpu": cpu,
        "took": took_s,
    }


def main() -> None:
    runs = []
    for _ in range(stage.REPEATS):
        with stage.provider() as provider, stage.server(provider.base_url) as site:
            sessions = stage.people(site, PEOPLE)
            runs.append(asyncio.run(one_run(site, sessions)))
    accepted = [value for run in runs for value in run["accepted"]]
    first = [value for run in runs for value in run["first"]]
    wrong = [value for run in runs for value in run["wrong"]]
    cpu, took = (stage.median([run[name] for run in runs]) for name in ("cpu", "took"))
    stage.table(
        f"{PEOPLE} people ask in the same second, {stage.REPEATS} runs",
        [
            ("errors and refusals", f"{len(wrong)} {sorted(set(wrong)) if wrong else ''}", "0"),
            ("messages stored", ", ".join(str(run["stored"]) for run in runs), f"{PEOPLE} each"),
            (
                "answers complete and stored",
                ", ".join(str(run["answered"]) for run in runs),
                f"{PEOPLE} each",
            ),
            ("all sockets open after", stage.ms(stage.median([run["connect"] for run in runs])), ""),
            ("sent → accepted", stage.spread(accepted), ""),
            ("sent → first text", stage.spread(first), ""),
            (
                "server CPU, of the time until all were answered",
                f"{cpu:.1f} s of {took:.1f} s",
                "",
            ),
        ],
    )


if __name__ == "__main__":
    main()
