"""The common count of slots in a real Redis: never too many, by urgency over all processes, none lost."""

import asyncio

import pytest
import redis

from chat.runtime.redis_slots import RedisSlots
from chat.upstream.shared_slots import SharingFailed
from tests.support.programs import free_port

pytestmark = pytest.mark.services

NOBODY = (0, 0, 0)
PERSON, API, BULK = (1, 0, 0), (0, 1, 0), (0, 0, 1)


class Processes:
    """Processes that share an endpoint with so many slots."""

    def __init__(self, url, slots, lease_s=60):
        self._url, self._slots, self._lease_s = url, slots, lease_s
        self._known = {}

    async def trade(self, name, held, waiting):
        """Return what is granted."""
        if name not in self._known:
            self._known[name] = RedisSlots(self._url, process=name, lease_s=self._lease_s)
        return (await self._known[name].trade("e", self._slots, held, waiting)).granted


async def test_no_more_are_granted_than_there_are_slots(redis_url):
    processes = Processes(redis_url, 4)
    assert await processes.trade("a", NOBODY, (3, 0, 0)) == (3, 0, 0)
    assert await processes.trade("b", NOBODY, (3, 0, 0)) == (1, 0, 0)
    assert await processes.trade("a", (2, 0, 0), NOBODY) == NOBODY
    assert await processes.trade("b", (1, 0, 0), (2, 0, 0)) == (1, 0, 0)


async def test_fifty_who_ask_at_once_never_hold_more_than_there_are(redis_url):
    count = 0
    most = 0

    async def call(number):
        nonlocal count, most
        slots = RedisSlots(redis_url, process=str(number), lease_s=60)
        while (await slots.trade("e", 5, NOBODY, PERSON)).granted != PERSON:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        count += 1
        most = max(most, count)
        await asyncio.sleep(0.005)
        count -= 1
        await slots.trade("e", 5, NOBODY, NOBODY)

    await asyncio.gather(*(call(number) for number in range(50)))
    assert most == 5


async def test_people_in_one_process_go_before_programs_and_bulk_in_another(redis_url):
    processes = Processes(redis_url, 3)
    assert await processes.trade("bulk", NOBODY, (0, 0, 9)) == (0, 0, 3)
    assert await processes.trade("people", NOBODY, PERSON) == NOBODY
    # One call of bulk has ended: the slot is not bulk's any more.
    assert await processes.trade("bulk", (0, 0, 2), (0, 0, 6)) == NOBODY
    assert await processes.trade("api", NOBODY, API) == NOBODY
    assert await processes.trade("people", NOBODY, PERSON) == PERSON


async def test_one_slot_is_bulks_while_bulk_waits_anywhere(redis_url):
    processes = Processes(redis_url, 3)
    assert await processes.trade("people", NOBODY, (9, 0, 0)) == (3, 0, 0)
    assert await processes.trade("bulk", NOBODY, BULK) == NOBODY
    assert await processes.trade("people", (2, 0, 0), (6, 0, 0)) == NOBODY
    assert await processes.trade("bulk", NOBODY, BULK) == BULK
    # It has its slot; the next one is not kept for more bulk.
    await processes.trade("bulk", BULK, BULK)
    assert await processes.trade("people", PERSON, (6, 0, 0)) == PERSON


async def test_with_a_single_slot_bulk_goes_after_eight_others(redis_url):
    processes = Processes(redis_url, 1)
    order = ""
    while len(order) < 27:
        # Each gives back what it may have had, and asks again.
        for name, mine in (("people", PERSON), ("bulk", BULK)):
            if await processes.trade(name, NOBODY, mine) != NOBODY:
                order += name[0]
    assert order[1:].startswith("ppppppppb" * 2)


async def test_as_urgent_ones_share_evenly_whoever_asks_more_often(redis_url):
    processes = Processes(redis_url, 4)
    assert await processes.trade("greedy", NOBODY, (9, 0, 0)) == (4, 0, 0)
    assert await processes.trade("late", NOBODY, (9, 0, 0)) == NOBODY
    held = {"greedy": 4, "late": 0}
    for _ in range(10):
        held["greedy"] -= 1
        for name in ("greedy", "greedy", "late"):
            held[name] += (await processes.trade(name, (held[name], 0, 0), (9, 0, 0)))[0]
        assert sum(held.values()) == 4
        if held["late"] >= 2:
            break
    assert held == {"greedy": 2, "late": 2}


async def test_what_a_killed_process_held_is_free_when_its_lease_ends(redis_url):
    killed = Processes(redis_url, 1, lease_s=0.05)
    assert await killed.trade("killed", NOBODY, PERSON) == PERSON
    slots = RedisSlots(redis_url, process="other", lease_s=60)
    async with asyncio.timeout(10):
        while (await slots.trade("e", 1, NOBODY, PERSON)).granted != PERSON:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_redis_that_was_emptied_knows_again_what_is_held(redis_url):
    processes = Processes(redis_url, 2)
    assert await processes.trade("a", NOBODY, (2, 0, 0)) == (2, 0, 0)
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
    await processes.trade("a", (2, 0, 0), NOBODY)
    assert await processes.trade("b", NOBODY, PERSON) == NOBODY


async def test_without_redis_it_says_so_once(caplog):
    slots = RedisSlots(f"redis://127.0.0.1:{free_port()}/0", process="a", lease_s=60)
    for _ in range(2):
        with pytest.raises(SharingFailed):
            await slots.trade("e", 1, NOBODY, NOBODY)
    assert caplog.text.count("does not answer") == 1
    assert "does not answer" in slots.problem
