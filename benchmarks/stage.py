"""What all benchmarks share: the real server and provider, people, conditions, and a table."""

import asyncio
import contextlib
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from tests.support.programs import Program
from tests.support.serving import SOCKET_PATH, Provider, Server, Session

REPEATS = 3
# Whoever ends a benchmark by a signal ends what it has started as well.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
TERMINAL = {"completed", "stopped", "failed", "interrupted"}
# As the page's own code does.
ACK_EVERY_S, ACK_SOON_S, ACK_SOON_CHARS = 1.0, 0.25, 32 * 1024
# Limits that keep one person from asking much are not what is measured.
UNLIMITED = {"CHATSITE_ASKS_PER_MINUTE": "100000", "CHATSITE_RUNNING_PER_USER": "10000"}

SIGN_IN_MANY = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction

from chat.models import Endpoint

Endpoint.objects.update(slots={count})
User = get_user_model()
with transaction.atomic():
    for number in range({count}):
        user, _ = User.objects.get_or_create(username=f"person{{number}}", defaults={{"password": "!"}})
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        print(session.session_key)
"""


# -- programs --------------------------------------------------------------------------------------


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chatsite-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def provider(rate: float = 50) -> Iterator[Provider]:
    """Run the fake provider as a process of its own, at `rate` deltas a second."""
    with folder() as place:
        (place / "data").mkdir()
        program = Provider(place, ("--rate", str(rate)))
        try:
            program.start()
            yield program
        finally:
            _stop_quietly(program)


@contextlib.contextmanager
def server(provider_url: str, **env: str) -> Iterator[Server]:
    """Run the real server as a process of its own, on a new SQLite database."""
    own = {"OPENAI_BASE_URL": provider_url, "OPENAI_API_KEY": "any", "OPENAI_MODEL": "fake"}
    with folder() as place:
        program = Server(place, UNLIMITED | own | env, ())
        try:
            program.start()
            yield program
        finally:
            _stop_quietly(program)


def _stop_quietly(program: Program) -> None:
    """Stop it; print its log only if it says more than hello and goodbye."""
    with contextlib.redirect_stdout(None):
        program.stop()
    for line in program.log.splitlines():
        if " WARNING " in line or " ERROR " in line or line.startswith("Traceback"):
            print(f"  {program.argv[2]}: {line}")


def people(site: Server, count: int) -> list[Session]:
    """Return browsers of `count` people, all signed in, and give the endpoint a slot for each."""
    keys = site.shell(SIGN_IN_MANY.format(count=count)).split()
    return [Session(site.base_url, {"sessionid": key}) for key in keys]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all threads, exactly (Linux)."""
    return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of another process: clock_getcpuclockid(3)


# -- a page without a screen -----------------------------------------------------------------------


@dataclass
class Answer:
    """What one question came to. Times are readings of time.monotonic."""

    asked: float = 0.0
    accepted: float | None = None
    first_text: float | None = None
    ended: float | None = None
    outcome: str = ""
    frames: int = 0
    texts: list[str] = field(default_factory=list)
    # When each of them came.
    came: list[float] = field(default_factory=list)
    ids: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Acks:
    """When a page acknowledges: rarely, sooner when much has come (static/chat/answer.js)."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()
        self._chars = 0

    def are_due(self, chars: int) -> bool:
        """Say whether to acknowledge now, after so many characters more."""
        self._chars += chars
        passed_s = time.monotonic() - self._last_s
        is_due = passed_s > (ACK_SOON_S if self._chars > ACK_SOON_CHARS else ACK_EVERY_S)
        if is_due:
            self._last_s, self._chars = time.monotonic(), 0
        return is_due


class Page:
    """One open socket of a person's."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def ask(self, text: str, answer: Answer | None = None) -> Answer:
        """Ask, acknowledge as a page does, and return the answer when it is over."""
        answer = answer or Answer()
        answer.asked = time.monotonic()
        await self._socket.send(json.dumps({"type": "ask", "client_id": uuid4().hex, "text": text}))
        acks = Acks()
        async for message in self._socket:
            now = time.monotonic()
            frame = json.loads(message)
            kind = frame["type"]
            if kind == "delta":
                answer.frames += 1
                answer.first_text = answer.first_text or now
                answer.texts.append(frame["text"])
                answer.came.append(now)
                if "seq" in frame and acks.are_due(len(frame["text"])):
                    await self._socket.send(
                        json.dumps({"type": "ack", "generation": frame["generation"], "seq": frame["seq"]})
                    )
            elif kind == "accepted":
                answer.accepted = now
                answer.ids = frame
            elif kind in TERMINAL or kind == "refused":
                answer.ended, answer.outcome = now, frame.get("code") or kind
                break
        return answer

    async def send(self, **frame: Any) -> None:
        await self._socket.send(json.dumps(frame))

    async def frames(self, *, until_seq: int) -> AsyncIterator[dict[str, Any]]:
        """Yield events up to `until_seq`, and acknowledge them as a page does."""
        acks = Acks()
        async for message in self._socket:
            frame = json.loads(message)
            yield frame
            if frame["seq"] == until_seq:
                return
            if acks.are_due(len(message)):
                await self.send(type="ack", generation=frame["generation"], seq=frame["seq"])


@contextlib.asynccontextmanager
async def page(
    session: Session, *, open_timeout_s: float = 60, path: str = SOCKET_PATH
) -> AsyncIterator[Page]:
    """Open a page of this person's."""
    url = "ws" + session.base_url.removeprefix("http") + path
    headers = {name: value for name, value in session.headers.items() if name != "Origin"}
    async with connect(
        url,
        origin=session.base_url,
        additional_headers=headers,
        proxy=None,
        max_size=2**23,
        compression=None,
        open_timeout=open_timeout_s,
        ping_interval=None,
    ) as socket:
        yield Page(socket)


@contextlib.asynccontextmanager
async def pages(sessions: Sequence[Session]) -> AsyncIterator[list[Page]]:
    """Open a page of each person's, all at once."""
    async with contextlib.AsyncExitStack() as stack:
        opening = [asyncio.ensure_future(stack.enter_async_context(page(each))) for each in sessions]
        yield list(await asyncio.gather(*opening))


# -- figures ---------------------------------------------------------------------------------------


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float]) -> str:
    """Return the median of seconds in ms, with the 95th percentile and the worst."""
    return f"{ms(median(values))} (p95 {ms(quantile(values, 0.95))}, max {ms(max(values))})"


def conditions() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores, load {load}, Python {platform.python_version()}, SQLite WAL NORMAL, {sys.platform}"
    )


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a Markdown table of (what, figure, wanted), under the conditions at this moment."""
    print(f"\n## {title}\n\n{conditions()}\n")
    widths = [max(len(row[column]) for row in [("what", "figure", "wanted"), *rows]) for column in range(3)]
    lines = [("what", "figure", "wanted"), ("-" * widths[0], "-" * widths[1], "-" * widths[2]), *rows]
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    sys.stdout.flush()
