"""Measure what twenty uploads of 100 MB at once, by visitors who are not signed in, do to the server.

    python -m benchmarks.hostile_posts

Memory is the process's peak during a round (Linux resets it on request). The probe of `large_request`
measures the largest gap between two turns of the event loop. Clients send everything before they read.
"""

import asyncio
import json
import time
from pathlib import Path

from benchmarks import environment, report
from benchmarks.large_request import PROBE
from tests.support.serving import Server

CLIENTS = 20
SIZE = 1525 * 65_536
PIECE = b"a=1&" * 16384
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
FILES = "Content-Type: multipart/form-data; boundary=b\r\n"
# The largest that the API accepts, before it looks at the key.
ACCEPTED_SIZE = 320 * len(PIECE)
LENGTH = f"Content-Length: {SIZE}\r\n"
ACCEPTED = f"Content-Length: {ACCEPTED_SIZE}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
KINDS = {
    "POST /signin/, form": ("POST /signin/", FORM + LENGTH),
    "POST /signin/, multipart": ("POST /signin/", FILES + LENGTH),
    "POST /signin/, chunked": ("POST /signin/", FORM + CHUNKED),
    "POST /admin/login/": ("POST /admin/login/", FORM + LENGTH),
    "POST /v1/chat/completions": ("POST /v1/chat/completions", LENGTH),
    "POST /v1/chat/completions, chunked": ("POST /v1/chat/completions", CHUNKED),
    "POST /v1/chat/completions, 21 MB": ("POST /v1/chat/completions", ACCEPTED),
    "PUT /no/such/page": ("PUT /no/such/page", FORM + LENGTH),
    "GET /": ("GET /", FORM + LENGTH),
}


async def upload(site: Server, line: str, headers: str) -> str:
    """Send one upload; return the status, or what went wrong."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if CHUNKED in headers else PIECE
    try:
        writer.write(f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())
        for _ in range((ACCEPTED_SIZE if ACCEPTED in headers else SIZE) // len(PIECE)):
            writer.write(piece)
            await writer.drain()
        return (await reader.readline()).split()[1].decode()
    except (OSError, IndexError) as error:
        return type(error).__name__
    finally:
        writer.close()


async def flood(site: Server, line: str, headers: str) -> set[str]:
    async with asyncio.timeout(120):
        return set(await asyncio.gather(*(upload(site, line, headers) for _ in range(CLIENTS))))


def memory_mb(pid: int, name: str) -> float:
    """Return `VmRSS` or `VmHWM`, the peak, of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))


def measure(site: Server, probe_file: Path, line: str, headers: str) -> str:
    Path(f"/proc/{site.pid}/clear_refs").write_text("5")  # resets the peak
    before_mb = memory_mb(site.pid, "VmRSS")
    probe_file.unlink()
    while not probe_file.exists():
        time.sleep(0.01)
    started_s = time.perf_counter()
    statuses = asyncio.run(flood(site, line, headers))
    took_s = time.perf_counter() - started_s
    loop_ms = json.loads(probe_file.read_text())["loop_ms"]
    grown_mb = memory_mb(site.pid, "VmHWM") - before_mb
    found = ", ".join(sorted(statuses))
    return f"{grown_mb:.0f} MB, {loop_ms:.0f} ms; HTTP {found} after {took_s:.1f} s"


def main() -> None:
    with environment.folder() as place, environment.provider() as provider:
        (place / "sitecustomize.py").write_text(PROBE)
        probe_file = place / "probe.json"
        probe = {"PYTHONPATH": str(place), "PROBE_FILE": str(probe_file)}
        with environment.server(provider.base_url, **probe) as site:
            site.visitor().get("/signin/")
            rows = [
                (f"{name}: memory, event loop", measure(site, probe_file, *kind), "≤ 60 MB, ≤ 100 ms")
                for name, kind in KINDS.items()
            ]
    report.table(f"{CLIENTS} uploads of {SIZE / 1e6:.0f} MB at once", rows)


if __name__ == "__main__":
    main()
