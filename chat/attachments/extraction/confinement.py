"""What the child takes from itself before it reads a file: memory, time, files, network, programs."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from chat.attachments.extraction.types import Limits

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_OPEN_FILES_MAX = 48
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.",
)
_FORBIDDEN_ALSO = frozenset(
    {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.kill"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class SideEffectForbidden(Exception):
    """A parser tried something that no parser needs."""


def limit(limits: Limits) -> None:
    """Limit this process, as far as the platform can."""
    with suppress(OSError):
        os.nice(5)  # the server goes first, where processors are few
    if resource is not None:
        _lower(resource.RLIMIT_AS, limits.memory_bytes)
        _lower(resource.RLIMIT_CPU, limits.cpu_seconds)
        _lower(resource.RLIMIT_CORE, 0)
        _lower(resource.RLIMIT_NOFILE, _OPEN_FILES_MAX)
    _leave_network()


def _lower(what: int, value: int) -> None:
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (value, value))


def _leave_network() -> None:
    """Move this process into a network of its own that leads nowhere, where the system allows it.

    While it has one thread only.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)


def forbid_side_effects() -> None:
    """Raise SideEffectForbidden, from now on, where Python code reaches for more than reading.

    After the imports, whose compiled files may be written.
    """
    sys.dont_write_bytecode = True
    if resource is not None:
        _lower(resource.RLIMIT_FSIZE, 0)

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and args[2] & _WRITING:
                raise SideEffectForbidden(event)
        elif event.startswith(_FORBIDDEN) or event in _FORBIDDEN_ALSO:
            raise SideEffectForbidden(event)

    sys.addaudithook(refuse)
