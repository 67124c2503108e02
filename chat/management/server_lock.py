"""One server per SQLite database: an advisory lock beside it, with the address of the server that holds it.

The kernel gives the lock back however the holder died, so holding it proves that no other server runs.
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
class Holder:
    """The process that holds the lock; `url` is empty while it is still starting."""

    pid: int
    url: str = ""


class AlreadyRunning(Exception):
    """Another process holds the lock."""

    def __init__(self, holder: Holder | None) -> None:
        where = f" at {holder.url}" if holder and holder.url else ""
        process = f" (process {holder.pid})" if holder else ""
        super().__init__(f"Chatsite already runs{where}{process}.")


class ServerLock:
    """Held from `take` to the end of the process. Where the database is no file, there is nothing to lock."""

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
        self.tell("")

    def tell(self, url: str) -> None:
        """Write down where this server runs."""
        if self._path is not None:
            said = json.dumps(asdict(Holder(os.getpid(), url))).encode()
            os.pwrite(self._file, said, 0)
            os.ftruncate(self._file, len(said))


def path() -> Path | None:
    """Return where the lock of this database is, None if its database needs none."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or ":memory:" in name or "mode=memory" in name:
        return None
    return Path(f"{name}.lock")


def holder() -> Holder | None:
    """Return the server that runs on this database now."""
    lock = path()
    if lock is None or not lock.exists():
        return None
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(lock)
    return None  # what it says was written by a server that has ended


def _read(lock: Path) -> Holder | None:
    with suppress(OSError, ValueError, TypeError):
        return Holder(**json.loads(lock.read_text()))
    return None
