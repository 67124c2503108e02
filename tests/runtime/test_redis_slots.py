"""Slots shared through a real Redis: never too many, by priority over all processes, none lost."""

import asyncio

import pytest
import redis

from chat.runtime.redis_slots import RedisSlots
from chat.upstream.shared_slots import SharedSlotsUnavailable
from tests.support.programs import free_port

pytestmark = pytest.mark.services

NONE = (0, 0, 0)
INTERACTIVE, API, BULK = (1, 0, 0), (0, 1, 0), (0, 0, 1)


class Processes:
    """Processes that share an endpoint with this many slots."""

    def __init__(self, url, slots, lease_s=60, program_slots=None):
        self._url, self._slots, self._lease_s = url, slots, lease_s
        self._program_slots = slots if program_slots is None else program_slots
        self._by_name = {}

    async def acquire(self, name, in_use, waiting):
        """Return how many slots are granted, by priority."""
        if name not in self._by_name:
            self._by_name[name] = RedisSlots(self._url, process=name, lease_s=self._lease_s)
        slots = self._by_name[name]
        return (await slots.acquire("e", self._slots, self._program_slots, in_use, waiting)).granted


async def test_no_more_are_granted_than_there_are_slots(redis_url):
    processes = Processes(redis_url, 4)
    assert await processes.acquire("a", NONE, (3, 0, 0)) == (3, 0, 0)
    assert await processes.acquire("b", NONE, (3, 0, 0)) == (1, 0, 0)
    assert await processes.acquire("a", (2, 0, 0), NONE) == NONE
    assert await processes.acquire("b", (1, 0, 0), (2, 0, 0)) == (1, 0, 0)


async def test_fifty_processes_at_once_never_use_more_slots_than_there_are(redis_url):
    count = 0
    most = 0

    async def call(number):
        nonlocal count, most
        slots = RedisSlots(redis_url, process=str(number), lease_s=60)
        while (await slots.acquire("e", 5, 5, NONE, INTERACTIVE)).granted != INTERACTIVE:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        count += 1
        most = max(most, count)
        await asyncio.sleep(0.005)
        count -= 1
        await slots.acquire("e", 5, 5, NONE, NONE)

    await asyncio.gather(*(call(number) for number in range(50)))
    assert most == 5


async def test_interactive_calls_of_one_process_go_before_api_calls_and_bulk_of_another(redis_url):
    processes = Processes(redis_url, 3)
    assert await processes.acquire("bulk", NONE, (0, 0, 9)) == (0, 0, 3)
    assert await processes.acquire("people", NONE, INTERACTIVE) == NONE
    # One bulk call has ended: its slot is no longer for bulk.
    assert await processes.acquire("bulk", (0, 0, 2), (0, 0, 6)) == NONE
    assert await processes.acquire("api", NONE, API) == NONE
    assert await processes.acquire("people", NONE, INTERACTIVE) == INTERACTIVE


async def test_one_slot_is_reserved_for_bulk_while_bulk_waits_anywhere(redis_url):
    processes = Processes(redis_url, 3)
    assert await processes.acquire("people", NONE, (9, 0, 0)) == (3, 0, 0)
    assert await processes.acquire("bulk", NONE, BULK) == NONE
    assert await processes.acquire("people", (2, 0, 0), (6, 0, 0)) == NONE
    assert await processes.acquire("bulk", NONE, BULK) == BULK
    # Bulk has its slot; the next one is not reserved.
    await processes.acquire("bulk", BULK, BULK)
    assert await processes.acquire("people", INTERACTIVE, (6, 0, 0)) == INTERACTIVE


async def test_api_and_bulk_calls_leave_slots_to_interactive_calls_of_any_process(redis_url):
    processes = Processes(redis_url, 5, program_slots=3)
    assert await processes.acquire("api", NONE, (0, 9, 0)) == (0, 3, 0)
    assert await processes.acquire("bulk", NONE, BULK) == NONE
    assert await processes.acquire("people", NONE, (9, 0, 0)) == (1, 0, 0)  # one is reserved for bulk
    # An API call has ended: bulk is due, and API calls have no other slot.
    assert await processes.acquire("api", (0, 2, 0), (0, 9, 0)) == NONE
    assert await processes.acquire("bulk", NONE, (0, 0, 2)) == BULK
    assert await processes.acquire("people", INTERACTIVE, (9, 0, 0)) == INTERACTIVE
    assert await processes.acquire("api", (0, 2, 0), (0, 9, 0)) == NONE


async def test_with_a_single_slot_bulk_goes_after_eight_others(redis_url):
    processes = Processes(redis_url, 1)
    order = ""
    while len(order) < 27:
        # Each process gives back the slot that it may have had, and waits again.
        for name, mine in (("people", INTERACTIVE), ("bulk", BULK)):
            if await processes.acquire(name, NONE, mine) != NONE:
                order += name[0]
    assert order[1:].startswith("ppppppppb" * 2)


async def test_equally_urgent_calls_share_evenly_however_often_a_process_asks(redis_url):
    processes = Processes(redis_url, 4)
    assert await processes.acquire("greedy", NONE, (9, 0, 0)) == (4, 0, 0)
    assert await processes.acquire("late", NONE, (9, 0, 0)) == NONE
    in_use = {"greedy": 4, "late": 0}
    for _ in range(10):
        in_use["greedy"] -= 1
        for name in ("greedy", "greedy", "late"):
            in_use[name] += (await processes.acquire(name, (in_use[name], 0, 0), (9, 0, 0)))[0]
        assert sum(in_use.values()) == 4
        if in_use["late"] >= 2:
            break
    assert in_use == {"greedy": 2, "late": 2}


async def test_the_slots_of_a_killed_process_are_freed_when_its_lease_ends(redis_url):
    killed = Processes(redis_url, 1, lease_s=0.05)
    assert await killed.acquire("killed", NONE, INTERACTIVE) == INTERACTIVE
    slots = RedisSlots(redis_url, process="other", lease_s=60)
    async with asyncio.timeout(10):
        while (await slots.acquire("e", 1, 1, NONE, INTERACTIVE)).granted != INTERACTIVE:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_flushed_redis_counts_the_running_calls_again(redis_url):
    processes = Processes(redis_url, 2)
    assert await processes.acquire("a", NONE, (2, 0, 0)) == (2, 0, 0)
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
    await processes.acquire("a", (2, 0, 0), NONE)
    assert await processes.acquire("b", NONE, INTERACTIVE) == NONE


async def test_without_redis_the_problem_is_logged_once(caplog):
    slots = RedisSlots(f"redis://127.0.0.1:{free_port()}/0", process="a", lease_s=60)
    for _ in range(2):
        with pytest.raises(SharedSlotsUnavailable):
            await slots.acquire("e", 1, 1, NONE, NONE)
    assert caplog.text.count("does not answer") == 1
    assert "does not answer" in slots.problem
