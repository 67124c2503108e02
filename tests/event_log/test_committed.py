"""What readers are told of is committed: the real writer thread, on a real database file."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection

from chat import events
from chat.event_log.read import fold
from chat.models import LoggedEvent
from tests.event_log.support import end
from tests.support.runtime import lease_on, running_generation

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_follower_sees_only_what_is_committed(log, user, model):
    generation = running_generation(user, model)
    seen = []

    async def produce():
        lease = lease_on(log, generation)
        follower = asyncio.create_task(follow())
        for n in range(50):
            await log.append(lease, events.Delta(f"{n} "))
            await asyncio.sleep(0)
        await log.finish(lease, events.Completed("stop"), partial(end, generation, "x"))
        await follower

    async def follow():
        async for rows in log.follow(generation.pk):
            stored = await asyncio.to_thread(
                lambda: list(
                    LoggedEvent.objects.filter(generation_id=generation.pk).values_list("seq", flat=True)
                )
            )
            assert rows[-1].seq in stored
            seen.extend(rows)

    asyncio.run(produce())
    assert [row.seq for row in seen] == list(range(1, len(seen) + 1))
    assert fold(seen).text == "".join(f"{n} " for n in range(50))
    assert seen[-1].is_terminal


def test_rows_are_committed_at_the_moment_in_which_they_are_published(log, user, model):
    """Another connection has them before any reader is told of them."""
    generation = running_generation(user, model)
    uncommitted = []

    def committed():
        rows = LoggedEvent.objects.filter(generation_id=generation.pk)
        found = set(rows.values_list("seq", flat=True))
        connection.close()
        return found

    async def produce():
        lease = lease_on(log, generation)
        publish = lease.publish

        def published(rows):
            uncommitted.extend({row.seq for row in rows} - reader.submit(committed).result(timeout=20))
            publish(rows)

        lease.publish = published
        await log.append(lease, events.Delta("one "))
        await log.writer.arun(lambda: None)
        await log.append(lease, events.Delta("two "))
        await log.finish(lease, events.Completed("stop"), partial(end, generation, "one two "))
        return lease.seq

    with ThreadPoolExecutor(1) as reader:
        assert asyncio.run(produce()) == 3
    assert not uncommitted
