"""A batch of 50,000 rows is uploaded, previewed and started while somebody chats, and then waits.

python -m benchmarks.batch_upload
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from itertools import pairwise

from benchmarks import environment, report
from benchmarks.client import open_client
from benchmarks.memory import held_mb
from tests.support.serving import Server, Session

ROWS = 50_000
BOUNDARY = "batch-upload"
LOADS = 10
WATCHED_S = 20


def form(session: Session, model: int) -> bytes:
    """Return the form of a new batch with a file, as a browser sends it."""
    rows = "".join(f"{n},A review of lamp {n}: bright and warm enough to read by\r\n" for n in range(ROWS))
    fields = {
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
        "model": str(model),
        "template": "Sum up in five words: {{review}}",
    }
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = 'Content-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
    parts.append(f"--{BOUNDARY}\r\n{head}id,review\r\n{rows}\r\n--{BOUNDARY}--\r\n")
    return "".join(parts).encode()


class Watch:
    """Looks at memory and heartbeat of a server until it is ended, in a thread."""

    def __init__(self, pid: int, session: Session) -> None:
        self.most_mb = 0.0
        self.slowest_s = 0.0
        self._is_over = threading.Event()
        self._pid, self._session = pid, session
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(0.1):
            self.most_mb = max(self.most_mb, held_mb(self._pid)[0])
            began_s = time.monotonic()
            assert self._session.get("/healthz").status == 200
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()


def upload(session: Session) -> tuple[float, float, str]:
    """Return the seconds until the preview and until it is started, and the batch's address."""
    body = form(session, 1)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    began_s = time.monotonic()
    reply = session.request("POST", "/batches/new/", body=body, headers=headers, timeout_s=120)
    assert reply.status == 302, reply.text[:2000]
    address = reply.headers["Location"]
    assert f"{ROWS} rows" in session.get(address).text
    previewed_s = time.monotonic() - began_s
    assert session.post(address, {"runner": "local"}).status == 302
    return previewed_s, time.monotonic() - began_s, address


async def chat(session: Session, deltas: int) -> list[float]:
    """Return the gaps between the deltas of an answer that takes `deltas` fiftieths of a second."""
    async with open_client(session) as client:
        answer = await client.ask(f"Hello [[deltas={deltas} rate=50]]")
        assert answer.outcome == "completed", answer.outcome
        return [later - earlier for earlier, later in pairwise(answer.arrived)]


def page_s(session: Session) -> float:
    times = []
    for _ in range(LOADS):
        began_s = time.monotonic()
        assert session.get("/sidebar/").status == 200
        times.append(time.monotonic() - began_s)
    return report.median(times)


def longest_tick_s(site: Server) -> float:
    """Return the longest time between two ticks of the server's heartbeat while rows wait."""
    longest, counter, since = 0.0, ticks(site), time.monotonic()
    until = since + WATCHED_S
    while time.monotonic() < until:
        time.sleep(0.05)
        if (now := ticks(site)) != counter:
            longest, counter, since = max(longest, time.monotonic() - since), now, time.monotonic()
    return max(longest, time.monotonic() - since)


def ticks(site: Server) -> int:
    path = f"file:{site.data_dir / 'db.sqlite3'}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as file:
        return file.execute("SELECT max(counter) FROM chat_process").fetchone()[0]


def main() -> None:
    with environment.provider() as provider, environment.server(provider.base_url) as site:
        session, chatting = site.sign_in("ada"), site.sign_in("bob")
        session.get("/")
        asyncio.run(chat(chatting, 20))
        sidebar_before_s, before_mb = page_s(session), held_mb(site.pid)[0]
        tick_before_s = longest_tick_s(site)
        watch = Watch(site.pid, site.visitor())
        gaps: list[float] = []
        chatter = threading.Thread(target=lambda: gaps.extend(asyncio.run(chat(chatting, 400))))
        chatter.start()
        previewed_s, started_s, address = upload(session)
        chatter.join()
        watch.end()
        sidebar_after_s = page_s(session)
        running_tick_s = longest_tick_s(site)
        assert session.post(f"{address}pause/", {}).status == 302
        time.sleep(WATCHED_S / 2)  # what runs already ends
        tick_s = longest_tick_s(site)
    report.table(
        f"A batch of {ROWS:,} rows",
        [
            ("uploaded, checked, stored and previewed", f"{previewed_s:.1f} s", ""),
            ("and started", f"{started_s:.1f} s", "< 20 s"),
            ("memory of the server", f"+ {watch.most_mb - before_mb:.0f} MB", "< + 100 MB"),
            ("longest pause of an answer beside it", f"{max(gaps):.2f} s", "< 2 s"),
            ("slowest /healthz beside it", f"{watch.slowest_s:.2f} s", "< 2 s"),
            (
                "longest time between two ticks before, with the rows waiting, and while 200 of them run",
                f"{tick_before_s:.2f}, {tick_s:.2f}, {running_tick_s:.2f} s",
                "< 2 s",
            ),
            (
                "sidebar before, and with the rows waiting",
                f"{report.ms(sidebar_before_s)}, {report.ms(sidebar_after_s)}",
                "",
            ),
        ],
    )


if __name__ == "__main__":
    main()
