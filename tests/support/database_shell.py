"""Python code on a server's database, in one process for all servers: `manage.py shell` takes a second each.

The code sees the database and the secret key of the server that it is meant for; all other settings are
the defaults. Code that needs more runs in `Server.shell`.
"""

import atexit
import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

from tests.support import environment

BASE_DIR = Path(__file__).resolve().parents[2]


class DatabaseShell:
    """The process. It starts with the first code and ends with its parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="chatsite-shell-")
        env = environment.cleaned(os.environ) | {
            "CHATSITE_DATA_DIR": self._folder.name,
            "CHATSITE_EMBEDDED_MODEL": "0",
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=BASE_DIR,
            env={name: value for name, value in env.items() if name not in environment.KEPT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the test, which may still ask for rows
        )
        atexit.register(self._end)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def run(self, code: str, *, database: str, secret_key: str) -> str:
        """Return what `code` prints. Raises AssertionError with the traceback of code that fails."""
        request = {"code": code, "database": database, "secret_key": secret_key}
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline())
        assert not reply["error"], reply["error"]
        printed: str = reply["printed"]
        return printed


@functools.cache
def database_shell() -> DatabaseShell:
    """Return the shell of this process."""
    return DatabaseShell()


def _run(code: str, database: str, secret_key: str) -> dict[str, str]:
    import dj_database_url
    from django.db import connections
    from django.test import override_settings

    connections["default"].close()
    del connections["default"]
    parsed: dict[str, Any] = dict(dj_database_url.parse(database))
    if "sqlite" in parsed["ENGINE"]:
        parsed["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 10}
    connections.databases["default"] = connections.configure_settings({"default": parsed})["default"]
    printed, error = io.StringIO(), ""
    with override_settings(SECRET_KEY=secret_key), contextlib.redirect_stdout(printed):
        try:
            exec(code, {"__name__": "__main__"})
        except Exception:  # noqa: BLE001 - its test reports it
            error = traceback.format_exc()
    connections["default"].close()
    return {"printed": printed.getvalue(), "error": error}


def main() -> None:
    import django

    django.setup()
    for line in sys.stdin:
        print(json.dumps(_run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
