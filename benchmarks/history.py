"""Measure what a large history costs a server that nobody reviews: idle, an exchange, a person's pages.

    python -m benchmarks.history [--messages 1000000]

Two servers, one with an empty database and one with a million messages (seed.py), are measured alternately.
The person of the pages has one in 500 of the seeded conversations. Filling takes some minutes.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from functools import partial

from benchmarks import environment, exchange, report
from tests.support.serving import BASE_DIR, Server, Session

IDLE_S = 20
PAGES = 20
FRAGMENT = {"HX-Request": "true"}
CONVERSATIONS = """
from chat.models import Conversation
own = Conversation.objects.filter(user__username="seed7", is_hidden=False).order_by("updated_at")
print(*own.values_list("pk", flat=True))
"""


def fill(messages: int, server: Server) -> None:
    """Fill the database of a server that has not been started."""
    server.manage("migrate", "-v", "0")
    argv = [sys.executable, "-m", "benchmarks.seed", "--messages", str(messages)]
    argv += ["--conversations", str(max(1, messages // 20))]
    subprocess.run(argv, cwd=BASE_DIR, env=server.env, check=True)


def idle_share(server: Server) -> float:
    """Return the share of a core that the idle server takes."""
    cpu_s = environment.cpu_s(server.pid)
    time.sleep(IDLE_S)
    return (environment.cpu_s(server.pid) - cpu_s) / IDLE_S


def page_s(session: Session, path: str, *, is_fragment: bool) -> float:
    """Return the median seconds until a page has arrived."""
    times = []
    for _ in range(PAGES):
        started = time.monotonic()
        response = session.get(path, headers=FRAGMENT if is_fragment else {})
        times.append(time.monotonic() - started)
        assert response.status == 200, (path, response.status)
    return report.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    messages = parser.parse_args().messages
    figures: dict[str, dict[str, list[float]]] = {"empty": {}, "full": {}}
    with (
        environment.provider() as provider,
        environment.server(provider.base_url) as empty,
        environment.server(provider.base_url, before=partial(fill, messages)) as full,
    ):
        person = full.sign_in("seed7")
        own = full.query(CONVERSATIONS).split()
        users = {
            name: environment.sign_in_many(site, exchange.USERS)
            for name, site in (("empty", empty), ("full", full))
        }
        for number in range(environment.REPEATS):
            for name, site in (("empty", empty), ("full", full)):
                figures[name].setdefault("idle", []).append(idle_share(site))
                cpu_ms, _wait = asyncio.run(exchange.exchange(site, users[name], f"round {number}"))
                figures[name].setdefault("exchange", []).append(cpu_ms)
        pages = {
            "sidebar": page_s(person, "/sidebar/", is_fragment=True),
            "first page": page_s(person, "/", is_fragment=False),
            "oldest conversation": page_s(person, f"/c/{own[0]}/", is_fragment=False),
        }
    rows = []
    for name, measured in figures.items():
        idle = ", ".join(f"{value:.2%}" for value in measured["idle"])
        exchanges = ", ".join(f"{value:.1f} ms" for value in measured["exchange"])
        rows.append((f"{name}: an idle server, share of a core", idle, "< 1 %"))
        rows.append((f"{name}: CPU of an exchange", exchanges, "as empty ± 10 %" if name == "full" else ""))
    rows += [(f"full: {name}", report.ms(seconds), "< 100 ms") for name, seconds in pages.items()]
    report.table(f"A history of {messages:,} messages", rows)


if __name__ == "__main__":
    main()
