"""A thread with a database connection of its own, for short reads that must not wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from channels.db import database_sync_to_async
from django.db import close_old_connections, connection


class DatabaseReader(Protocol):
    """Runs a short database read and returns its result."""

    async def __call__[T](self, read: Callable[[], T]) -> T: ...


class DatabaseThread:
    """One thread, one connection. The heartbeat reads here: websockets and views share other threads."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heartbeat reader")

    async def __call__[T](self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read, read)

    def close(self) -> None:
        """End the thread, without waiting for a read that hangs."""
        self._executor.submit(connection.close)
        self._executor.shutdown(wait=False)

    @staticmethod
    def _read[T](read: Callable[[], T]) -> T:
        close_old_connections()
        return read()


async def read_on_shared_thread[T](read: Callable[[], T]) -> T:
    """Read on the thread that websockets share: for tests, whose transaction belongs to one thread."""
    result: T = await database_sync_to_async(read)()
    return result
