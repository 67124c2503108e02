"""Measure 200 users who send their first message in the same second.

python -m benchmarks.crowd
"""

import asyncio
import contextlib
import time

from benchmarks import environment, report
from benchmarks.client import Answer, open_clients
from tests.support.serving import Server, Session

USERS = 200
BEHAVIOUR = "[[deltas=40 rate=20]]"
DEADLINE_S = 90

COUNT = """
from chat.models import Generation, Message
print(Message.objects.filter(role="user").count())
print(Message.objects.filter(role="assistant").exclude(text="").count())
print(Generation.objects.filter(status="completed").count())
"""


async def one_run(site: Server, sessions: list[Session]) -> dict[str, object]:
    began = time.monotonic()
    async with open_clients(sessions) as clients:
        connected_s = time.monotonic() - began
        await asyncio.sleep(1)
        answers = [Answer() for _ in clients]
        cpu = environment.cpu_s(site.pid)
        started = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(
                    *(
                        client.ask(f"Hello from {number} {BEHAVIOUR}", answer)
                        for number, (client, answer) in enumerate(zip(clients, answers, strict=True))
                    )
                )
        took_s = time.monotonic() - started
        cpu = environment.cpu_s(site.pid) - cpu
    stored, texts, completed = map(int, (await asyncio.to_thread(site.shell, COUNT)).split())
    return {
        "connect": connected_s,
        "accepted": [answer.accepted - answer.sent for answer in answers if answer.accepted],
        "first": [answer.first_text - answer.sent for answer in answers if answer.first_text],
        "wrong": [answer.outcome or "no end" for answer in answers if answer.outcome != "completed"],
        "stored": stored,
        "answered": min(texts, completed),
        "cpu": cpu,
        "took": took_s,
    }


def main() -> None:
    runs = []
    for _ in range(environment.REPEATS):
        with environment.provider() as provider, environment.server(provider.base_url) as site:
            sessions = environment.sign_in_many(site, USERS)
            runs.append(asyncio.run(one_run(site, sessions)))
    accepted = [value for run in runs for value in run["accepted"]]
    first = [value for run in runs for value in run["first"]]
    wrong = [value for run in runs for value in run["wrong"]]
    cpu, took = (report.median([run[name] for run in runs]) for name in ("cpu", "took"))
    report.table(
        f"{USERS} users ask in the same second, {environment.REPEATS} runs",
        [
            ("errors and refusals", f"{len(wrong)} {sorted(set(wrong)) if wrong else ''}", "0"),
            ("messages stored", ", ".join(str(run["stored"]) for run in runs), f"{USERS} each"),
            (
                "answers complete and stored",
                ", ".join(str(run["answered"]) for run in runs),
                f"{USERS} each",
            ),
            ("all sockets open after", report.ms(report.median([run["connect"] for run in runs])), ""),
            ("sent → accepted", report.spread(accepted), ""),
            ("sent → first text", report.spread(first), ""),
            (
                "server CPU, of the time until all answers ended",
                f"{cpu:.1f} s of {took:.1f} s",
                "",
            ),
        ],
    )


if __name__ == "__main__":
    main()
