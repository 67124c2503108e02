"""Requests that follow one another share a thread, and requests at the same time never do."""

import asyncio
import threading

from asgiref.sync import sync_to_async

from chatsite import threads
from chatsite.threads import RequestThreads


async def used_by(pool):
    """Return the thread of one request."""
    used = []

    async def handle():
        used.append(await sync_to_async(threading.get_ident)())

    await pool.run(handle)
    return used[0]


async def idle(pool, request):
    """Wait until the thread of a request is free for the next one."""
    while await used_by(pool) != request:
        pass


async def test_the_next_request_gets_the_thread_of_the_one_before():
    pool = RequestThreads()
    await idle(pool, await used_by(pool))


async def test_requests_at_the_same_time_have_threads_of_their_own(monkeypatch):
    monkeypatch.setattr(threads, "KEPT_MAX", 2)
    pool = RequestThreads()
    meeting = threading.Barrier(5)
    used = set()

    def meet():
        used.add(threading.get_ident())
        meeting.wait(20)

    await asyncio.gather(*(pool.run(sync_to_async(meet)) for _ in range(5)))
    assert len(used) == 5


async def test_a_thread_is_free_only_when_its_view_has_ended():
    pool = RequestThreads()
    release = threading.Event()
    busy = []

    def view():
        busy.append(threading.get_ident())
        release.wait(20)

    request = asyncio.ensure_future(pool.run(sync_to_async(view)))
    while not busy:  # noqa: ASYNC110
        await asyncio.sleep(0)
    request.cancel()
    try:
        assert await used_by(pool) != busy[0]
    finally:
        release.set()
    await asyncio.wait({request})
    await idle(pool, busy[0])
