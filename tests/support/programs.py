"""Programs that tests start: found or reported as missing, on private ports, and always stopped."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

# Missing programs, for the summary of the run: program -> package that brings it.
missing: dict[str, str] = {}


def miss(program: str, package: str) -> NoReturn:
    """Skip the test because `program` is not installed; fail it in CI."""
    missing[program] = package
    if os.environ.get("CI"):
        pytest.fail(
            f"{program} is missing, and CI tests everything: apt-get install {package}", pytrace=False
        )
    pytest.skip(f"{program} is missing: apt-get install {package}")


def find(program: str, package: str, *folders: str) -> str:
    """Return the path of `program` from PATH or `folders` (patterns; the last match is used)."""
    paths = [str(path) for folder in folders for path in sorted(Path("/").glob(folder.lstrip("/")))]
    path = shutil.which(program) or shutil.which(program, path=os.pathsep.join(reversed(paths)))
    return path or miss(program, package)


def until[T](check: Callable[[], T], what: str, *, deadline_s: float = 20) -> T:
    """Return the first true value of `check`, called every 20 ms. Fails the test after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while not (value := check()):
        if time.monotonic() > end:
            pytest.fail(f"waited {deadline_s:g} s for {what}", pytrace=False)
        time.sleep(0.02)
    return value


# Whoever asked for a port may not have bound it yet.
_returned: set[int] = set()


def free_port() -> int:
    """Return a free port, a new one each time, below the range that systems use for outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(12_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _returned:
                _returned.add(port)
                return port


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Program:
    """A child process with a log, in its own process group."""

    def __init__(self, argv: list[str], *, folder: Path, env: dict[str, str] | None = None, **popen: Any):
        self.argv = argv
        self.folder = folder
        self.env = env
        self._popen = popen
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert not self.is_running
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                cwd=self._popen.get("cwd", self.folder),
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **{name: value for name, value in self._popen.items() if name != "cwd"},
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All output so far, of all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def until(self, check: Callable[[], object], what: str, *, deadline_s: float = 20) -> None:
        """Wait for `check`; fail the test if the program exits first."""
        until(lambda: check() or not self.is_running, f"{what}; its log:\n{self.log}", deadline_s=deadline_s)
        if not self.is_running:
            pytest.fail(f"exited while a test waited for {what}; its log:\n{self.log}", pytrace=False)

    def wait_for_line(self, pattern: str, *, deadline_s: float = 20) -> re.Match[str]:
        """Return the first match of `pattern` in the log, multi-line."""
        self.until(
            lambda: re.search(pattern, self.log, re.M), f"a line like {pattern!r}", deadline_s=deadline_s
        )
        match = re.search(pattern, self.log, re.M)
        assert match is not None
        return match

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill9(self) -> None:
        """Kill this process, but not its children, as a crash would."""
        self.send(signal.SIGKILL)
        self.wait()

    def terminate(self, *, deadline_s: float = 30) -> int:
        """Send SIGTERM, as a service manager does; return the exit code."""
        self.send(signal.SIGTERM)
        return self.wait(deadline_s=deadline_s)

    def wait(self, *, deadline_s: float = 30) -> int:
        assert self._process is not None
        return self._process.wait(deadline_s)

    def stop(self) -> None:
        """Stop it and its children at the end of a test, and print its log for the test report."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                if self.is_running:
                    self.send(signal.SIGINT)
                    self._process.wait(5)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(10)
        print(f"--- log of {' '.join(self.argv[:4])} …\n{self.log}")


def nameless_files(program: Program) -> list[Path]:
    """Return the files without a name that a program has open, such as large bodies of requests (Linux)."""
    links = []
    for link in Path(f"/proc/{program.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            links += [link] if "(deleted)" in str(link.readlink()) else []
    return links


@contextlib.contextmanager
def running(program: Program) -> Iterator[Program]:
    program.start()
    try:
        yield program
    finally:
        program.stop()
