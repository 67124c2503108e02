"""Slots and their queue: which call is next, the positions, and that every ticket is given back."""

import asyncio

import pytest

from chat.upstream import errors
from chat.upstream.admission import Admission
from chat.upstream.queue import QueuePriority
from tests.support.clock import run_without_waiting

INTERACTIVE, API, BULK = QueuePriority.INTERACTIVE, QueuePriority.API, QueuePriority.BULK


def run(test):
    """Let a coroutine test run on a loop where waiting takes no time."""

    def sync_test():
        run_without_waiting(test())

    sync_test.__name__ = test.__name__
    return sync_test


def admission_with(slots, **options):
    return Admission(slots, clock=asyncio.get_running_loop().time, **options)


def order_of(*tickets):
    """Release the tickets as they are granted, and return their numbers in that order."""
    left, order = list(tickets), []
    while left:
        granted = [ticket for ticket in left if ticket.is_granted]
        assert len(granted) == 1
        left.remove(granted[0])
        order.append(tickets.index(granted[0]))
        granted[0].release()
    return order


@run
async def test_a_free_slot_is_taken_at_once():
    admission = admission_with(2)
    tickets = [admission.enter(INTERACTIVE), admission.enter(INTERACTIVE), admission.enter(INTERACTIVE)]
    assert [ticket.is_granted for ticket in tickets] == [True, True, False]
    assert [ticket.position for ticket in tickets] == [0, 0, 1]


@run
async def test_interactive_calls_go_before_api_calls_before_bulk():
    admission = admission_with(1)
    first = admission.enter(INTERACTIVE)
    tickets = [admission.enter(each) for each in (BULK, API, INTERACTIVE, API, INTERACTIVE)]
    assert [ticket.position for ticket in tickets] == [5, 3, 1, 4, 2]
    first.release()
    assert order_of(*tickets) == [2, 4, 1, 3, 0]


@run
async def test_programs_leave_a_share_of_the_slots_to_users():
    admission = admission_with(5, interactive_share=0.4)
    programs = [admission.enter(each) for each in (API, API, BULK, API, BULK)]
    assert [ticket.is_granted for ticket in programs] == [True, True, True, False, False]
    people = [admission.enter(INTERACTIVE) for _n in range(3)]
    assert [ticket.is_granted for ticket in people] == [True, True, False]
    programs[0].release()
    assert people[2].is_granted  # interactive calls may use all slots
    programs[2].release()
    assert programs[4].is_granted  # bulk waits and none runs
    programs[1].release()
    assert programs[3].is_granted


@run
async def test_programs_can_use_an_endpoint_with_few_slots():
    for slots in (1, 2):
        admission = admission_with(slots, interactive_share=0.4)
        assert all(admission.enter(API).is_granted for _n in range(slots))


@run
async def test_users_take_turns():
    admission = admission_with(1)
    first = admission.enter(INTERACTIVE, "ada")
    tickets = [admission.enter(INTERACTIVE, user) for user in ("ada", "ada", "ada", "bob", "eve", "bob")]
    assert [ticket.position for ticket in tickets] == [1, 4, 6, 2, 3, 5]
    first.release()
    assert order_of(*tickets) == [0, 3, 4, 1, 5, 2]


@run
async def test_a_changed_position_is_reported():
    admission = admission_with(1)
    holders = [admission.enter(INTERACTIVE), admission.enter(INTERACTIVE)]
    ticket = admission.enter(INTERACTIVE)
    change = asyncio.create_task(ticket.wait_for_change(poll_interval_s=1))
    await asyncio.sleep(5)
    assert not change.done()
    holders[0].release()
    assert await change == 1
    holders[1].release()
    assert await ticket.wait_for_change(poll_interval_s=1) == 0
    assert ticket.is_granted


@run
async def test_a_grant_is_reported_at_once():
    admission = admission_with(1)
    holder, ticket = admission.enter(INTERACTIVE), admission.enter(INTERACTIVE)
    change = asyncio.create_task(ticket.wait_for_change(poll_interval_s=100))
    await asyncio.sleep(0)
    now_s = asyncio.get_running_loop().time()
    holder.release()
    await change
    assert asyncio.get_running_loop().time() == now_s


@run
async def test_a_released_ticket_leaves_nothing_behind():
    admission = admission_with(1)
    holder = admission.enter(INTERACTIVE)
    tickets = [admission.enter(INTERACTIVE, user) for user in "abc"]
    waiting = asyncio.create_task(tickets[0].wait_for_change(poll_interval_s=1))
    await asyncio.sleep(0)
    waiting.cancel()
    tickets[0].release()
    tickets[0].release()
    assert [ticket.position for ticket in tickets[1:]] == [1, 2]
    for ticket in (holder, *tickets, holder):
        ticket.release()
    assert (admission.running, sum(map(admission.waiting, QueuePriority))) == (0, 0)
    assert admission.is_idle
    assert admission.enter(INTERACTIVE).is_granted


@run
async def test_a_full_queue_refuses_at_once_with_a_retry_after():
    admission = admission_with(1, waiting_max=3)
    for _n in range(4):
        admission.enter(API)
    with pytest.raises(errors.QueueFull) as refused:
        admission.enter(API)
    assert 1 <= refused.value.retry_after_s <= 60


@run
async def test_a_queue_full_of_bulk_accepts_interactive_calls():
    admission = admission_with(1, waiting_max=3)
    for _n in range(4):
        admission.enter(BULK)
    assert admission.enter(INTERACTIVE).position == 1
    with pytest.raises(errors.QueueFull):
        admission.enter(BULK)


@run
async def test_the_number_of_slots_can_change_at_any_time():
    admission = admission_with(1)
    tickets = [admission.enter(INTERACTIVE) for _n in range(5)]
    admission.slots = 3
    assert [ticket.is_granted for ticket in tickets] == [True, True, True, False, False]
    admission.slots = 1
    tickets[0].release()
    tickets[1].release()
    assert admission.running == 1
    tickets[2].release()
    assert tickets[3].is_granted


@run
async def test_a_pause_holds_all_calls_and_then_ends():
    admission = admission_with(2)
    running = admission.enter(INTERACTIVE)
    admission.pause(30)
    tickets = [admission.enter(INTERACTIVE), admission.enter(BULK)]
    running.release()
    await asyncio.sleep(29.9)
    assert not any(ticket.is_granted for ticket in tickets)
    await asyncio.sleep(0.2)
    assert all(ticket.is_granted for ticket in tickets)


@run
async def test_calls_are_refused_during_a_pause_longer_than_the_limit():
    admission = admission_with(1, pause_max_s=60)
    running, ticket = admission.enter(INTERACTIVE), admission.enter(INTERACTIVE)
    waiting = asyncio.create_task(ticket.wait_for_change(poll_interval_s=1))
    await asyncio.sleep(0)
    admission.pause(200)
    with pytest.raises(errors.RateLimited) as refused:
        await waiting
    assert refused.value.retry_after_s == pytest.approx(200)
    with pytest.raises(errors.RateLimited):
        admission.enter(INTERACTIVE)
    ticket.release()
    running.release()
    await asyncio.sleep(141)
    late = admission.enter(INTERACTIVE)
    await late.wait_for_change(poll_interval_s=1)
    assert asyncio.get_running_loop().time() >= 200


@run
async def test_an_absurd_pause_ends_within_a_quarter_of_an_hour():
    admission = admission_with(1)
    admission.pause(1e12)
    assert admission.paused_s == 900


@run
async def test_bulk_makes_progress_while_interactive_calls_keep_coming():
    admission = admission_with(4)
    bulk = [admission.enter(BULK, "batch") for _n in range(50)]
    people = [admission.enter(INTERACTIVE, n) for n in range(500)]
    released = set()
    for _round in range(50):
        for ticket in [each for each in (*bulk, *people) if each.is_granted and each not in released]:
            released.add(ticket)
            ticket.release()
    assert sum(ticket.is_granted for ticket in bulk) == 50
    assert sum(ticket.is_granted for ticket in people) >= 150


@run
async def test_bulk_makes_progress_even_with_one_slot():
    admission = admission_with(1)
    bulk = admission.enter(BULK), admission.enter(BULK)
    people = [admission.enter(INTERACTIVE) for _n in range(30)]
    bulk[0].release()
    for n in range(8):
        assert people[n].is_granted
        people[n].release()
    assert bulk[1].is_granted


@run
async def test_three_hundred_bulk_calls_delay_interactive_calls_by_no_more_than_the_calls_in_flight():
    """Each call takes a second, so a wait is counted in calls."""
    admission, loop = admission_with(4, interactive_share=0), asyncio.get_running_loop()
    started = []

    async def call(priority, user):
        since_s = loop.time()
        ticket = admission.enter(priority, user)
        try:
            while not ticket.is_granted:
                await ticket.wait_for_change(poll_interval_s=1)
            started.append((priority, loop.time() - since_s, loop.time()))
            await asyncio.sleep(1)
        finally:
            ticket.release()

    calls = [asyncio.create_task(call(BULK, "batch")) for _n in range(300)]
    await asyncio.sleep(0.5)
    calls += [asyncio.create_task(call(INTERACTIVE, n)) for n in range(30)]
    await asyncio.gather(*calls)
    waits = [wait_s for priority, wait_s, _when in started if priority is INTERACTIVE]
    # Interactive calls have three slots: the k-th waits for the calls in flight and those before it.
    assert all(wait_s <= 0.5 + k // 3 + 0.01 for k, wait_s in enumerate(waits))
    meanwhile = [when for priority, _wait, when in started if priority is BULK and when <= 0.5 + max(waits)]
    assert len(meanwhile) - 4 >= 10
    assert len(started) == 330
