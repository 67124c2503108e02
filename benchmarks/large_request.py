"""Measure how long a large API request blocks the server's event loop and the writer's thread.

    python -m benchmarks.large_request

A probe in the server's process measures the largest gap between two turns of the event loop, and the longest
transaction of the writer. The machine's own pauses count as well: the first row is a small request.
"""

import json
import time
from pathlib import Path

from benchmarks import environment, report
from tests.support.serving import Server, Session

REPEATS = 3
WANTED_MS = 20
# Python imports this module at every start, from PYTHONPATH.
PROBE = """
import asyncio.base_events
import json
import os
import sys
import threading
import time
import traceback

FILE = os.environ.get("PROBE_FILE", "")
worst = {"loop_ms": 0.0, "writer_ms": 0.0, "stack": []}
turned_s = time.perf_counter()


def turn(loop):
    global turned_s
    now_s = time.perf_counter()
    worst["loop_ms"] = max(worst["loop_ms"], (now_s - turned_s) * 1000)
    turned_s = now_s
    loop.call_later(0.001, turn, loop)


def report(main):
    while True:
        time.sleep(0.004)
        if time.perf_counter() - turned_s > 0.012 and not worst["stack"]:
            worst["stack"] = traceback.format_stack(sys._current_frames()[main])[-6:]
        if not os.path.exists(FILE):
            worst.update(loop_ms=0.0, writer_ms=0.0, stack=[])
        with open(FILE + ".new", "w") as file:
            json.dump(worst, file)
        os.replace(FILE + ".new", FILE)


def measure_writer():
    from django.db.transaction import Atomic

    enter, leave = Atomic.__enter__, Atomic.__exit__
    started = []

    def timed_enter(self):
        if threading.current_thread().name == "writer":
            started.append(time.perf_counter())
        return enter(self)

    def timed_exit(self, *error):
        try:
            return leave(self, *error)
        finally:
            if threading.current_thread().name == "writer":
                took_ms = (time.perf_counter() - started.pop()) * 1000
                worst["writer_ms"] = max(worst["writer_ms"], took_ms)

    Atomic.__enter__, Atomic.__exit__ = timed_enter, timed_exit


if FILE and "serve" in sys.argv[1:2]:
    run_forever = asyncio.base_events.BaseEventLoop.run_forever

    def probed(self):
        global turned_s
        turned_s = time.perf_counter()
        self.call_soon(turn, self)
        threading.Thread(target=report, args=(threading.get_ident(),), daemon=True).start()
        measure_writer()
        asyncio.base_events.BaseEventLoop.run_forever = run_forever
        return run_forever(self)

    asyncio.base_events.BaseEventLoop.run_forever = probed
"""


def request(message: bytes) -> bytes:
    return b'{"model":"fake","messages":[' + message + b"]}"


def bodies() -> dict[str, bytes]:
    """Return the requests by name. The fake provider answers the valid ones."""
    image = b"QUJD" * 4_500_000
    text = b"f(a, [b, {c: 1}]); " * 950_000
    part = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,' + image + b'"}}'
    nested = b"[" + b"[]," * 2_000_000 + b"[]]"
    objects = b"[" + b'{"a":1},' * 750_000 + b"{}]"
    tiny = b'{"role":"user","content":""},' * 400_000
    return {
        "1 kB": request(b'{"role":"user","content":"[[deltas=3]] ' + b"x" * 1000 + b'"}'),
        "250 kB of text": request(b'{"role":"user","content":"[[deltas=3]] ' + b"word, " * 40_000 + b'"}'),
        "18 MB, one image": request(
            b'{"role":"user","content":[{"type":"text","text":"[[deltas=3]]"},' + part + b"]}"
        ),
        "18 MB of code": request(b'{"role":"user","content":"[[deltas=3]] ' + text + b'"}'),
        "6 MB of nested lists": request(b'{"role":"user","content":"hello","x":' + nested + b"}"),
        "6 MB of small objects": request(b'{"role":"user","content":"hello","x":' + objects + b"}"),
        "400,000 small messages": request(tiny + b'{"role":"user","content":"hello"}'),
    }


def measure(site: Server, key: str, body: bytes, probe_file: Path) -> tuple[float, float, float, int]:
    """Return the longest gap of the loop, the longest transaction, the duration (ms), and the status."""
    probe_file.unlink()
    while not probe_file.exists():
        time.sleep(0.01)
    session = Session(site.base_url, {})
    started_s = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    reply = session.request("POST", "/v1/chat/completions", body=body, headers=headers, timeout_s=120)
    took_ms = (time.perf_counter() - started_s) * 1000
    time.sleep(0.5)
    worst = json.loads(probe_file.read_text())
    if worst["loop_ms"] > WANTED_MS and worst["stack"]:
        print("  ", worst["stack"][-1].strip().replace("\n", " · "))
    return worst["loop_ms"], worst["writer_ms"], took_ms, reply.status


def main() -> None:
    with environment.folder() as place, environment.provider() as provider:
        (place / "sitecustomize.py").write_text(PROBE)
        probe_file = place / "probe.json"
        probe = {"PYTHONPATH": str(place), "PROBE_FILE": str(probe_file)}
        with environment.server(provider.base_url, **probe) as site:
            environment.sign_in_many(site, 1)
            key = site.manage("api_key", "--user", "user0", "--name", "benchmark").strip()
            rows = []
            for name, body in bodies().items():
                rounds = [measure(site, key, body, probe_file) for _ in range(REPEATS)]
                loop_ms, writer_ms, took_ms = (report.median([each[n] for each in rounds]) for n in range(3))
                figure = f"{loop_ms:.0f} ms, {writer_ms:.0f} ms; {took_ms:.0f} ms, HTTP {rounds[-1][3]}"
                rows.append((f"{name}: event loop, writer; whole request", figure, f"< {WANTED_MS} ms each"))
    report.table("Large API requests", rows)


if __name__ == "__main__":
    main()
