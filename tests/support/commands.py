"""Management commands as users and scripts run them: with pipes, or on a terminal."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.programs import until
from tests.support.serving import BASE_DIR

COMMAND = [sys.executable, "manage.py"]


def run(env, *arguments, stdin=None, deadline_s=60):
    """Run a command to its end, with pipes; `stdin`: text for its standard input."""
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=BASE_DIR,
        env=env,
        capture_output=True,
        text=not isinstance(stdin, bytes),
        timeout=deadline_s,
        **given,
    )


@contextmanager
def running(env, *arguments, **popen) -> Iterator[subprocess.Popen]:
    """Run a command with pipes during the block; it is killed at the end of the block."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    with subprocess.Popen([*COMMAND, *arguments], cwd=BASE_DIR, env=env, **options) as process:
        try:
            yield process
        finally:
            process.kill()


class Terminal:
    """A command whose three standard streams are a terminal, and the output on that terminal."""

    def __init__(self, process: subprocess.Popen, main: int) -> None:
        self.process = process
        self._main = main
        self._shown = b""
        os.set_blocking(main, False)

    @property
    def shown(self) -> str:
        """Return the output so far."""
        try:
            while piece := os.read(self._main, 65_536):
                self._shown += piece
        except OSError:  # nothing to read yet, or the other end is closed
            pass
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.shown), f"{pattern!r} on a terminal; it shows {self.shown!r}")

    def press(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        return until(lambda: self.shown is not None and self.process.poll() is not None, "its end") and (
            self.process.returncode
        )


@contextmanager
def on_a_terminal(env, *arguments) -> Iterator[Terminal]:
    """Run a command on its own terminal, where Ctrl-C works as usual."""
    main, other = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=BASE_DIR,
        env=env,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
        preexec_fn=_own_the_terminal,
    ) as process:
        os.close(other)
        try:
            yield Terminal(process, main)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.close(main)


def _own_the_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
