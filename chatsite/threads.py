"""Threads of HTTP requests: each request has one, with a database connection, and leaves both to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import ThreadSensitiveContext
from django.db import connections

# More requests at once get further threads, which end with them.
KEPT_MAX = 8


class RequestThreads:
    """Runs requests, the synchronous code of each one on a thread that no other request uses meanwhile.

    By default, asgiref starts a thread for a request, and another one to wait for its end; and with a new
    thread, Django opens a database connection. That takes longer than most requests.
    """

    def __init__(self) -> None:
        self._free: deque[ThreadPoolExecutor] = deque()

    async def run(self, handle: Callable[[], Awaitable[object]]) -> None:
        """Call `handle`, and run its synchronous code on one thread."""
        try:
            thread = self._free.pop()
        except IndexError:
            thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await handle()
        finally:
            # A view can outlast a request whose client left. This runs after it.
            thread.submit(self._release, thread)

    def _release(self, thread: ThreadPoolExecutor) -> None:
        """Keep a thread for the next request, or end it; on the thread itself."""
        if len(self._free) < KEPT_MAX:
            self._free.append(thread)
        else:
            connections.close_all()
            thread.shutdown(wait=False)
