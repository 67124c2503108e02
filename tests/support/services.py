"""Private PostgreSQL, Redis, nginx and Chromium for tests; they also work as root.

    python -m tests.support.services COMMAND …

runs a command with CHATSITE_TEST_DATABASE_URL set to a private PostgreSQL (`make postgres-test`).
"""

import contextlib
import io
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis

from tests.support import environment
from tests.support.programs import Program, find, free_port, is_listening, miss, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/pgsql-*/bin")
POSTGRES_SINCE = 15
# Leads Chromium to this machine.
PLAIN_HOST = "chat.test"


class Postgres:
    """A running server; `create()` creates an empty database."""

    def __init__(self, server_url: str):
        self._server_url = server_url
        self._count = 0

    def create(self) -> str:
        """Return the URL of a new database."""
        self._count += 1
        name = f"test{self._count}"
        with psycopg.connect(f"{self._server_url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"{self._server_url}/{name}"


@contextlib.contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Start a private PostgreSQL server; as root, it runs as the user `postgres`, as it requires."""
    server = find("postgres", "postgresql", *POSTGRES_FOLDERS)
    version = re.search(r"\d+", subprocess.check_output([server, "--version"], text=True))
    if version is None or int(version[0]) < POSTGRES_SINCE:
        miss(f"postgres {POSTGRES_SINCE} or newer", "postgresql")
    initdb = str(Path(server).resolve().with_name("initdb"))
    user_options: dict[str, Any] = {}
    if os.geteuid() == 0:
        user_options = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="chatsite-postgres-") as name:
        folder, password, port = Path(name), secrets.token_hex(16), free_port()
        (folder / "password").write_text(password)
        if user_options:
            subprocess.run(["chown", "-R", "postgres:postgres", name], check=True)
        command = [initdb, "-D", name + "/data", "-U", "chatsite", "-A", "scram-sha-256", "--no-sync"]
        command += ["-E", "UTF8", "--locale=C", f"--pwfile={name}/password"]
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, **user_options)
        assert done.returncode == 0, done.stderr
        command = [server, "-D", name + "/data", "-p", str(port), "-k", name]
        # Tests kill processes, never the machine: data in the kernel's buffers is safe.
        for option in ("listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"):
            command += ["-c", option]
        with running(Program(command, folder=folder, **user_options)) as program:
            url = f"postgres://chatsite:{password}@127.0.0.1:{port}"

            def answers() -> bool:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(f"{url}/postgres").close()
                    return True
                return False

            program.until(answers, "PostgreSQL to answer")
            yield Postgres(url)


@contextlib.contextmanager
def run_redis() -> Iterator[str]:
    """Start a private Redis server without persistence; yields its URL."""
    server, port = find("redis-server", "redis-server"), free_port()
    with tempfile.TemporaryDirectory(prefix="chatsite-redis-") as name:
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        with running(Program(command, folder=Path(name))) as program:
            program.until(lambda: is_listening(port), "Redis to listen")
            yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> str:
    """Return a DATABASE_URL: a new, empty database on a private server."""
    return postgres_server.create()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    with run_redis() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Return a REDIS_URL: a private server without data."""
    with redis.Redis.from_url(redis_server) as connection:
        connection.flushall()
    return redis_server


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Return a function that starts nginx with the content of its `http` block and waits for `port`."""
    binary = find("nginx", "nginx", "/usr/sbin")
    with contextlib.ExitStack() as stack:

        def start(http: str, *, port: int) -> Program:
            folder = tmp_path / f"nginx-{port}"
            folder.mkdir()
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
            user = "user root;" if os.geteuid() == 0 else ""
            (folder / "nginx.conf").write_text(
                f"daemon off; pid {folder}/pid; error_log stderr info; worker_processes 2; {user}\n"
                f"events {{ worker_connections 2048; }}\n"
                f"http {{\naccess_log off;\n{paths}\n{http}\n}}\n"
            )
            command = [binary, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
            program = stack.enter_context(running(Program(command, folder=folder)))
            program.until(lambda: is_listening(port), f"nginx to listen on {port}")
            return program

        yield start


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """Return the system's Chromium, headless.

    Playwright's sync API keeps an event loop on the main thread while it is open. So a module that uses
    this fixture must leave the database to the server it started.
    """
    from playwright.sync_api import expect, sync_playwright

    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None) or miss("chromium", "chromium")
    expect.set_options(timeout=20_000)  # on a busy machine
    with sync_playwright() as playwright:
        options = ["--disable-gpu", "--disable-background-networking", "--no-first-run"]
        # A plain-http address that is not localhost, as on a home network: it is no secure context.
        options.append(f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1")
        # The sandbox does not work as root, and the browser only opens our own server.
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@contextlib.contextmanager
def reporting_errors(context: "BrowserContext") -> "Iterator[None]":
    """Close the context in the end. Script errors and policy violations on its pages fail the test."""
    context.set_default_timeout(20_000)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on(
        "console",
        lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None,
    )
    yield
    context.close()
    assert errors == []


@pytest.fixture
def page(chromium: "Browser") -> "Iterator[Page]":
    """Return a page of a new browser profile."""
    context = chromium.new_context()
    with reporting_errors(context):
        yield context.new_page()


def main() -> int:
    """Run the command in argv with a private PostgreSQL."""
    try:
        # The server's log would hide the last lines of the command.
        with contextlib.redirect_stdout(io.StringIO()), run_postgres() as server:
            environ = environment.cleaned(os.environ) | {"CHATSITE_TEST_DATABASE_URL": server.create()}
            return subprocess.run(sys.argv[1:], env=environ).returncode
    except (pytest.skip.Exception, pytest.fail.Exception) as reason:
        print(f"NOT TESTED: {reason}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
