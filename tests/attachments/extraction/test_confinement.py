"""What the child cannot do any more, shown in a process of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_START = """
import os, socket, subprocess, sys
from chat.attachments.extraction import confinement
from chat.attachments.extraction.types import DEFAULT
confinement.limit(DEFAULT)
"""
_DEEDS = {
    "sockets": "socket.socket()",
    "names of hosts": "socket.getaddrinfo('localhost', 80)",
    "programs": "subprocess.run(['true'])",
    "shells": "os.system('true')",
    "forks": "os.fork()",
    "writing": "open(sys.argv[1], 'w')",
    "deleting": "os.remove(sys.argv[1])",
}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", _START + code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_parsers_can_neither_reach_out_nor_write(tmp_path: Path):
    kept = tmp_path / "kept"
    kept.write_text("words")
    tries = "".join(
        f"try: {deed}; print({name!r})\nexcept confinement.SideEffectForbidden: pass\n"
        for name, deed in _DEEDS.items()
    )

    done = run(f"confinement.forbid_side_effects()\n{tries}print('end')", str(kept))

    assert (done.stdout, done.stderr) == ("end\n", "")
    assert kept.read_text() == "words"


def test_memory_is_limited():
    assert "MemoryError" in run("bytearray(2 * 1024**3)").stderr


def _can_leave_the_network() -> bool:
    leave = "import os; os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)"
    return subprocess.run([sys.executable, "-c", leave], capture_output=True).returncode == 0


@pytest.mark.skipif(not hasattr(os, "unshare"), reason="only Linux has networks of processes")
def test_the_child_has_no_network_where_the_system_allows_that():
    if not _can_leave_the_network():
        pytest.skip("this system does not allow it")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"    socket.create_connection(('127.0.0.1', {port}), 5)"

        assert "unreachable" in run(f"try:\n{code}\nexcept OSError as exc: print(exc)").stdout
