"""The programs of a benchmark: the real server, the fake provider, and signed-in users."""

import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support.programs import Program
from tests.support.serving import Provider, Server, Session

REPEATS = 3
# A benchmark that is ended by a signal also ends the programs that it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
# The limits per user are not measured.
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
        user, _ = User.objects.get_or_create(username=f"user{{number}}", defaults={{"password": "!"}})
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        print(session.session_key)
"""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chatsite-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def provider(rate: float = 50) -> Iterator[Provider]:
    """Run the fake provider as a process, at `rate` deltas per second."""
    with folder() as path:
        (path / "data").mkdir()
        program = Provider(path, ("--rate", str(rate)))
        try:
            program.start()
            yield program
        finally:
            _stop_quietly(program)


@contextlib.contextmanager
def server(
    provider_url: str,
    *,
    arguments: Sequence[str] = (),
    before: Callable[[Server], None] = lambda _: None,
    **env: str,
) -> Iterator[Server]:
    """Run the real server as a process, on a new SQLite database.

    `arguments`: of Python, for `manage.py`. `before`: called with the server before it starts.
    """
    own = {"OPENAI_BASE_URL": provider_url, "OPENAI_API_KEY": "any", "OPENAI_MODEL": "fake"}
    with folder() as path:
        program = Server(path, UNLIMITED | own | env, ())
        program.argv[1:2] = arguments or program.argv[1:2]
        try:
            before(program)
            program.start()
            yield program
        finally:
            _stop_quietly(program)


def _stop_quietly(program: Program) -> None:
    """Stop a program, and print only the warnings and errors of its log."""
    with contextlib.redirect_stdout(None):
        program.stop()
    for line in program.log.splitlines():
        if " WARNING " in line or " ERROR " in line or line.startswith("Traceback"):
            print(f"  {program.argv[2]}: {line}")


def sign_in_many(site: Server, count: int) -> list[Session]:
    """Return sessions of `count` users, and give the endpoint a slot for each."""
    keys = site.shell(SIGN_IN_MANY.format(count=count)).split()
    return [Session(site.base_url, {"sessionid": key}) for key in keys]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all threads, exactly (Linux)."""
    return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of another process: clock_getcpuclockid(3)
