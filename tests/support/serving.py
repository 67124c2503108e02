"""The real programs for tests: `manage.py serve` and `manage.py fakeprovider` as processes."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

from chat.fakeprovider import ThreadedProvider
from tests.support import environment
from tests.support.database_shell import database_shell
from tests.support.programs import Program, free_port

BASE_DIR = Path(__file__).resolve().parents[2]
SOCKET_PATH = "/ws/"

SIGN_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore

user, is_new = get_user_model().objects.get_or_create(
    username={name!r}, defaults={{"is_staff": {is_staff}, "is_superuser": {is_staff}}}
)
if is_new:
    user.set_unusable_password()
    user.save()
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""

TICKS = "from chat.models import Process; print(Process.objects.get(kind='server').counter)"


def environment_of(data_dir: Path, env: dict[str, str]) -> dict[str, str]:
    """Return a program's environment: a private data folder, no embedded model, and `env`."""
    own = {
        "CHATSITE_DATA_DIR": str(data_dir),
        "CHATSITE_EMBEDDED_MODEL": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # later starts use the compiled files
    }
    inherited = environment.cleaned(os.environ)
    for name in environment.KEPT:
        inherited.pop(name, None)
    return inherited | own | env


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Session:
    """An HTTP client that acts as a browser: cookies, CSRF tokens, and sockets with an Origin."""

    def __init__(self, base_url: str, cookies: dict[str, str]):
        self.base_url = base_url
        # Django accepts any well-formed secret that is the same in cookie and header.
        self.cookies = {"csrftoken": secrets.token_hex(16), **cookies}

    @property
    def headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": cookie, "Origin": self.base_url, "X-CSRFToken": self.cookies["csrftoken"]}

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 20,
    ) -> Response:
        """Send one request and read the whole response; redirects are not followed."""
        connection = http.client.HTTPConnection(
            urllib.parse.urlsplit(self.base_url).netloc, timeout=timeout_s
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, self.headers | (headers or {}))
            reply = connection.getresponse()
            for line in reply.headers.get_all("Set-Cookie", []):
                self.cookies.update({name: part.value for name, part in SimpleCookie(line).items()})
            return Response(reply.status, reply.headers, reply.read().decode(errors="replace"))

    def get(self, path: str, **more: Any) -> Response:
        return self.request("GET", path, **more)

    def post(self, path: str, fields: dict[str, str] | None = None, **more: Any) -> Response:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} | more.pop("headers", {})
        body = urllib.parse.urlencode(fields or {}).encode()
        return self.request("POST", path, body=body, headers=headers, **more)

    def socket(self, path: str = SOCKET_PATH, **options: Any) -> ClientConnection:
        """Open a websocket as a page of this server does. Use it as a context manager."""
        url = "ws" + self.base_url.removeprefix("http") + path
        headers = {name: value for name, value in self.headers.items() if name != "Origin"}
        return connect(
            url, origin=self.base_url, additional_headers=headers, proxy=None, max_size=2**23, **options
        )

    def enter(self, context: Any, base_url: str = "") -> None:
        """Sign a Playwright browser context in; `base_url`: another address of the server."""
        url = base_url or self.base_url
        context.add_cookies(
            [{"name": name, "value": value, "url": url} for name, value in self.cookies.items()]
        )


class Server(Program):
    """`manage.py serve` on its own port and data folder."""

    def __init__(self, folder: Path, env: dict[str, str], options: tuple[str, ...]):
        self.data_dir = Path(env.get("CHATSITE_DATA_DIR", folder / "data"))
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [sys.executable, "manage.py", "serve", "--port", str(self.port), *options],
            folder=folder,
            env=environment_of(self.data_dir, env),
            cwd=BASE_DIR,
        )

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        super().start()
        self.until(self.is_ready, "the server to answer /healthz", deadline_s=40)

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.visitor().get("/healthz", timeout_s=5).status < 500
        return False

    def restart(self) -> None:
        """Start the server again on the same port; terminate it first if it runs."""
        if self.is_running:
            self.terminate()
        self.start()

    def manage(self, *arguments: str, stdin: str = "", deadline_s: float = 120) -> str:
        """Run another manage.py command with the server's environment; return its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BASE_DIR,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=deadline_s,
        )
        assert done.returncode == 0, f"manage.py {arguments[0]}: {done.stderr}"
        return done.stdout

    def shell(self, code: str) -> str:
        """Run Python code with the server's settings; return its output."""
        return self.manage("shell", "--no-imports", "-v", "0", "-c", code).strip()

    def query(self, code: str) -> str:
        """Run Python code on the server's database, sooner than `shell`; return its output."""
        database = self.env.get("DATABASE_URL") or f"sqlite:///{self.data_dir / 'db.sqlite3'}"
        secret_key = self.env.get("CHATSITE_SECRET_KEY") or secret_key_of(self)
        return database_shell().run(code, database=database, secret_key=secret_key).strip()

    def until_ticked(self) -> None:
        """Wait until the server has learned by a tick of what was stored before, such as a first budget."""
        before = int(self.query(TICKS))
        self.until(lambda: int(self.query(TICKS)) >= before + 2, "two ticks")

    def visitor(self) -> Session:
        """Return a session without a signed-in user."""
        return Session(self.base_url, {})

    def sign_in(self, name: str = "ada", *, is_staff: bool = False) -> Session:
        """Return a session of the user with this name, who is created if missing."""
        return Session(self.base_url, {"sessionid": self.query(SIGN_IN.format(name=name, is_staff=is_staff))})


class Provider(Program):
    """`manage.py fakeprovider`: an OpenAI-compatible server with scripted faults."""

    def __init__(self, folder: Path, options: tuple[str, ...]):
        super().__init__(
            [sys.executable, "manage.py", "fakeprovider", "--port", "0", *options],
            folder=folder,
            env=environment_of(folder / "data", {}),
            cwd=BASE_DIR,
        )
        self.base_url = ""

    def start(self) -> None:
        super().start()
        self.base_url = self.wait_for_line(r"http://[\d.]+:\d+(?:/v1)?")[0]

    @property
    def env_for_server(self) -> dict[str, str]:
        """The environment variables of a server that uses this provider."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "test-key"}


def prepare(folder: Path) -> Path:
    """Create a data folder with empty tables and collected static files, which takes seconds."""
    server = Server(folder, {}, ())
    server.manage("migrate", "-v", "0")
    server.shell("from chat.management import static_files; static_files.collect()")
    return server.data_dir


@contextlib.contextmanager
def serving(folder: Path, prepared_data: Path) -> Iterator[Callable[..., Server]]:
    """Yield a function that starts a server: `serve(env, "--option")`.

    `data_of=server` shares an earlier server's data folder. `is_prepared=False` uses an empty folder
    without tables and static files. `is_started=False` leaves starting to the test. All servers are
    stopped at the end, and their logs are part of a failed test's report.
    """
    servers: list[Server] = []

    def make(
        env: dict[str, str] | None = None,
        *options: str,
        data_of: Server | None = None,
        is_prepared: bool = True,
        is_started: bool = True,
    ) -> Server:
        own_folder = folder / f"server{len(servers)}"
        own_folder.mkdir()
        if is_prepared and data_of is None:
            shutil.copytree(prepared_data, own_folder / "data")
        own = {"CHATSITE_DATA_DIR": str(data_of.data_dir)} if data_of else {}
        server = Server(own_folder, (env or {}) | own, options)
        servers.append(server)
        if is_started:
            server.start()
        return server

    try:
        yield make
    finally:
        for server in servers:
            server.stop()


@dataclass(frozen=True)
class ProviderOfTest:
    """A fake provider in the process of the test, at the pace of the command."""

    base_url: str

    @property
    def env_for_server(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "test-key"}

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Self]:
        with ThreadedProvider.running(rate=50) as provider:
            yield cls(provider.base_url)


@contextlib.contextmanager
def providing(folder: Path) -> Iterator[Provider]:
    """Run a fake provider as a program of its own."""
    (folder / "data").mkdir(parents=True)
    program = Provider(folder, ())
    try:
        program.start()
        yield program
    finally:
        program.stop()


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def serve(tmp_path: Path, prepared_data: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server (see `serving`)."""
    with serving(tmp_path, prepared_data) as make:
        yield make


@pytest.fixture
def provider() -> Iterator[ProviderOfTest]:
    """Return a running fake provider."""
    with ProviderOfTest.running() as running:
        yield running


def stored(server: Server, generation: int) -> list[Any]:
    """Return status, text, calls and epoch of a generation from the database."""
    code = f"""
import json
from chat.models import Generation
row = Generation.objects.select_related("message").get(pk={generation})
print(json.dumps([row.status, row.message.text, row.calls, row.epoch]))
"""
    return json.loads(server.query(code))


def secret_key_of(server: Server) -> str:
    return (server.data_dir / "secret_key").read_text().strip()
