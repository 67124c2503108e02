"""What the server process holds at rest, after one page and one answered message; the model's child apart.

python -m benchmarks.memory
"""

import asyncio
import time
from pathlib import Path

from benchmarks import stage

REST_S = 3


def held_mb(pid: int) -> tuple[float, float]:
    """Return RSS and PSS in MB (Linux)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    rss, pss = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("Rss", "Pss"))
    return rss, pss


async def ask(session: stage.Session) -> None:
    async with stage.page(session) as page:
        answer = await page.ask("Hello [[deltas=40 rate=0]]")
        assert answer.outcome == "completed", answer.outcome


def main() -> None:
    started, rest = [], []
    for _ in range(stage.REPEATS):
        with stage.provider() as provider, stage.server(provider.base_url) as site:
            session = site.sign_in("ada")
            started.append(held_mb(site.pid)[0])
            assert session.get("/").status == 200
            asyncio.run(ask(session))
            time.sleep(REST_S)
            rest.append(held_mb(site.pid))
    rss, pss = zip(*rest, strict=True)
    stage.table(
        f"Memory of the server process, {stage.REPEATS} starts",
        [
            ("RSS after the start", f"{stage.median(started):.0f} MB", ""),
            ("RSS at rest, after a page and an answer", f"{stage.median(rss):.0f} MB", "< 150 MB"),
            ("PSS of that (shared pages divided)", f"{stage.median(pss):.0f} MB", ""),
        ],
    )


if __name__ == "__main__":
    main()
