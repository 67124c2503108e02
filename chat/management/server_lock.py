"""One server per SQLite database: an advisory lock on a file beside it, which contains the server's URL.

The kernel releases the lock whenever its holder exits, so the lock proves that no other server runs.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import connection


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that holds the lock. `url` is empty while it starts."""

    pid: int
    url: str = ""


class AlreadyRunning(Exception):
    """Another process holds the lock."""

    def __init__(self, holder: LockHolder | None) -> None:
        where = f" at {holder.url}" if holder and holder.url else ""
        process = f" (process {holder.pid})" if holder else ""
        super().__init__(f"Chatsite is already running{where}{process}.")


class ServerLock:
    """Held from `take` until the process exits. Does nothing if the database is not a file."""

    def __init__(self) -> None:
        self._path = path()
        self._file = -1

    def take(self) -> None:
        """Take the lock. Raises AlreadyRunning."""
        if self._path is None:
            return
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise AlreadyRunning(_read(self._path)) from None
        self.publish_url("")

    def publish_url(self, url: str) -> None:
        """Write the URL of this server into the file."""
        if self._path is not None:
            content = json.dumps(asdict(LockHolder(os.getpid(), url))).encode()
            os.pwrite(self._file, content, 0)
            os.ftruncate(self._file, len(content))


def path() -> Path | None:
    """Return the path of the lock file; None if the database is not a file."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or ":memory:" in name or "mode=memory" in name:
        return None
    return Path(f"{name}.lock")


def holder() -> LockHolder | None:
    """Return the server that is running on this database, or None."""
    lock = path()
    if lock is None or not lock.exists():
        return None
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(lock)
    return None  # not locked: the content is of a server that has exited


def _read(lock: Path) -> LockHolder | None:
    with suppress(OSError, ValueError, TypeError):
        return LockHolder(**json.loads(lock.read_text()))
    return None
