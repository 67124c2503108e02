"""Keep the embedded demo model's child process running. The server starts without waiting for it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from chat.background import BackgroundTasks
from chat.local_model.child import KEY_VARIABLE, NO_AVX2

logger = logging.getLogger(__name__)

OTHER_MODEL_HINT = (
    "To use another model, set OPENAI_API_KEY (or OPENAI_BASE_URL and OPENAI_MODEL) in .env "
    "and restart Chatsite."
)

# Ready in one or two seconds on an idle machine; a busy one with a cold disk gets a minute.
READY_WITHIN_S = 60.0
# Waits before the second, third and fourth start; after that the model has failed.
BACKOFFS_S = (1.0, 4.0, 16.0)
# A child that ran this long starts a new count of failures.
STABLE_S = 600.0
STOP_S = 2.0

# The folder in which `-m chat.local_model.child` is found.
_ROOT = Path(__file__).resolve().parents[2]
# What a program needs to run at all. The child must not see our keys and database passwords.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LD_", "DYLD_", "PYTHON", "OMP_")


class ModelState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class LocalModel:
    """Supervise one child process.

    `base_url` is empty until the model is ready; `message` explains every state but READY to users, in
    sentences that call the model “it”.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "chat.local_model.child"),
        *,
        ready_within_s: float = READY_WITHIN_S,
        backoffs_s: Sequence[float] = BACKOFFS_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api_key = secrets.token_urlsafe(24)
        self.base_url = ""
        self.state = ModelState.STARTING
        self.message = "It is starting; this takes a few seconds."
        self.pid: int | None = None
        self._command = command
        self._ready_within_s = ready_within_s
        self._backoffs_s = backoffs_s
        self._sleep = sleep
        self._clock = clock
        self._settled = asyncio.Event()
        self._background = BackgroundTasks()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the child and its supervision; return at once."""
        self._task = self._background.start(self._supervise_safely(), "supervision of the demo model")

    async def wait_ready(self) -> bool:
        """Wait until the model is ready (True) or has failed for good (False)."""
        await self._settled.wait()
        return self.state is ModelState.READY

    async def stop(self) -> None:
        """Stop the child and wait until it has exited."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.state is not ModelState.FAILED:
            self._fail("it was stopped")

    async def _supervise_safely(self) -> None:
        try:
            await self._supervise()
        except Exception:
            self._fail("its supervisor failed; see the log")
            raise

    async def _supervise(self) -> None:
        failures = 0
        while True:
            started_at = self._clock()
            reason, is_final = await self._run_child()
            failures = 1 if self._clock() - started_at > STABLE_S else failures + 1
            logger.warning("The demo model's process ended: %s.", reason)
            if is_final or failures > len(self._backoffs_s):
                self._fail(reason)
                return
            self.state, self.base_url = ModelState.STARTING, ""
            self.message = "It is restarting."
            self._settled.clear()
            await self._sleep(self._backoffs_s[failures - 1])

    async def _run_child(self) -> tuple[str, bool]:
        """Run one child until it exits; return why it ended, and whether a restart would end the same."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=_ROOT,
                env=_child_environment() | {KEY_VARIABLE: self.api_key},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            return f"it could not be started ({error.strerror})", False
        self.pid = child.pid
        errors: deque[str] = deque(maxlen=1)
        reader = asyncio.create_task(_keep_last(child.stderr, errors), name="local model's errors")
        try:
            return await self._follow(child, errors)
        finally:
            self.base_url, self.pid = "", None
            await asyncio.shield(_stop(child))
            reader.cancel()

    async def _follow(self, child: asyncio.subprocess.Process, errors: deque[str]) -> tuple[str, bool]:
        assert child.stdout
        try:
            async with asyncio.timeout(self._ready_within_s):
                report = _parse(await child.stdout.readline())
        except TimeoutError:
            return f"it was not ready within {self._ready_within_s:g} s", False
        if error := report.get("error"):
            return str(error), True
        if port := report.get("port"):
            self.base_url = f"http://127.0.0.1:{port}/v1"
            self.state, self.message = ModelState.READY, ""
            self._settled.set()
        code = await child.wait()
        if code == -signal.SIGILL:
            return NO_AVX2, True
        return ": ".join([f"it exited with code {code}", *errors]), False

    def _fail(self, reason: str) -> None:
        self.state, self.base_url = ModelState.FAILED, ""
        self.message = f"{reason[:1].upper()}{reason[1:]}. {OTHER_MODEL_HINT}"
        self._settled.set()


def _child_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def _parse(line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        report = json.loads(line)
        if isinstance(report, dict):
            return report
    return {}


async def _keep_last(stream: asyncio.StreamReader | None, lines: deque[str]) -> None:
    assert stream
    with suppress(ValueError):  # a line longer than the stream's limit
        while line := await stream.readline():
            lines.append(line.decode(errors="replace").strip())


async def _stop(child: asyncio.subprocess.Process) -> None:
    """Close the child's standard input, which makes it exit; kill it if it does not."""
    assert child.stdin
    child.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
