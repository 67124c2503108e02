"""Measure the memory of the idle server process after one page and one answer, without the local model.

python -m benchmarks.memory
"""

import asyncio
import time
from pathlib import Path

from benchmarks import environment, report
from benchmarks.client import open_client
from tests.support.serving import Session

REST_S = 3


def held_mb(pid: int) -> tuple[float, float]:
    """Return RSS and PSS in MB (Linux)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    rss, pss = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("Rss", "Pss"))
    return rss, pss


async def ask(session: Session) -> None:
    async with open_client(session) as client:
        answer = await client.ask("Hello [[deltas=40 rate=0]]")
        assert answer.outcome == "completed", answer.outcome


def main() -> None:
    started, rest = [], []
    for _ in range(environment.REPEATS):
        with environment.provider() as provider, environment.server(provider.base_url) as site:
            session = site.sign_in("ada")
            started.append(held_mb(site.pid)[0])
            assert session.get("/").status == 200
            asyncio.run(ask(session))
            time.sleep(REST_S)
            rest.append(held_mb(site.pid))
    rss, pss = zip(*rest, strict=True)
    report.table(
        f"Memory of the server process, {environment.REPEATS} starts",
        [
            ("RSS after the start", f"{report.median(started):.0f} MB", ""),
            ("RSS when idle, after a page and an answer", f"{report.median(rss):.0f} MB", "< 150 MB"),
            ("PSS of that (shared pages divided)", f"{report.median(pss):.0f} MB", ""),
        ],
    )


if __name__ == "__main__":
    main()
