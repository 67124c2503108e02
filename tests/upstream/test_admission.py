"""Slots and the line before them: who is next, what each sees of it, and that nothing is left behind."""

import asyncio

import pytest

from chat.upstream import errors
from chat.upstream.admission import Admission, QueuePriority
from tests.support.clock import warped

PERSON, API, BULK = QueuePriority.INTERACTIVE, QueuePriority.API, QueuePriority.BULK


def run(test):
    """Let a coroutine test run on a loop where waiting takes no time."""

    def warped_test():
        warped(test())

    warped_test.__name__ = test.__name__
    return warped_test


def door(slots, **options):
    return Admission(slots, clock=asyncio.get_running_loop().time, **options)


def order_of(admission, *places):
    """Let all through, one by one, and return the numbers of `places` in the order of their slots."""
    left, order = list(places), []
    while left:
        running = [place for place in left if place.is_admitted]
        assert len(running) == 1
        left.remove(running[0])
        order.append(places.index(running[0]))
        running[0].leave()
    return order


@run
async def test_a_free_slot_is_taken_at_once():
    admission = door(2)
    places = [admission.enter(PERSON), admission.enter(PERSON), admission.enter(PERSON)]
    assert [place.is_admitted for place in places] == [True, True, False]
    assert [place.position for place in places] == [0, 0, 1]


@run
async def test_people_come_before_programs_before_bulk():
    admission = door(1)
    first = admission.enter(PERSON)
    places = [admission.enter(each) for each in (BULK, API, PERSON, API, PERSON)]
    assert [place.position for place in places] == [5, 3, 1, 4, 2]
    first.leave()
    assert order_of(admission, *places) == [2, 4, 1, 3, 0]


@run
async def test_users_take_turns():
    admission = door(1)
    first = admission.enter(PERSON, "ada")
    places = [admission.enter(PERSON, user) for user in ("ada", "ada", "ada", "bob", "eve", "bob")]
    assert [place.position for place in places] == [1, 4, 6, 2, 3, 5]
    first.leave()
    assert order_of(admission, *places) == [0, 3, 4, 1, 5, 2]


@run
async def test_a_position_is_told_as_it_changes():
    admission = door(1)
    holders = [admission.enter(PERSON), admission.enter(PERSON)]
    place = admission.enter(PERSON)
    moved = asyncio.create_task(place.moved(look_every_s=1))
    await asyncio.sleep(5)
    assert not moved.done()
    holders[0].leave()
    assert await moved == 1
    holders[1].leave()
    assert await place.moved(look_every_s=1) == 0
    assert place.is_admitted


@run
async def test_being_admitted_is_told_at_once():
    admission = door(1)
    holder, place = admission.enter(PERSON), admission.enter(PERSON)
    moved = asyncio.create_task(place.moved(look_every_s=100))
    await asyncio.sleep(0)
    now_s = asyncio.get_running_loop().time()
    holder.leave()
    await moved
    assert asyncio.get_running_loop().time() == now_s


@run
async def test_who_leaves_leaves_no_trace():
    admission = door(1)
    holder = admission.enter(PERSON)
    places = [admission.enter(PERSON, user) for user in "abc"]
    waiting = asyncio.create_task(places[0].moved(look_every_s=1))
    await asyncio.sleep(0)
    waiting.cancel()
    places[0].leave()
    places[0].leave()
    assert [place.position for place in places[1:]] == [1, 2]
    for place in (holder, *places, holder):
        place.leave()
    assert (admission.running, sum(map(admission.waiting, QueuePriority))) == (0, 0)
    assert not any(admission._lines.values())
    assert admission.enter(PERSON).is_admitted


@run
async def test_a_full_line_refuses_at_once_and_says_when_to_come_again():
    admission = door(1, waiting_max=3)
    for _n in range(4):
        admission.enter(API)
    with pytest.raises(errors.QueueFull) as refused:
        admission.enter(API)
    assert 1 <= refused.value.retry_after_s <= 60


@run
async def test_a_line_full_of_bulk_keeps_no_person_out():
    admission = door(1, waiting_max=3)
    for _n in range(4):
        admission.enter(BULK)
    assert admission.enter(PERSON).position == 1
    with pytest.raises(errors.QueueFull):
        admission.enter(BULK)


@run
async def test_the_number_of_slots_can_change_at_any_time():
    admission = door(1)
    places = [admission.enter(PERSON) for _n in range(5)]
    admission.slots = 3
    assert [place.is_admitted for place in places] == [True, True, True, False, False]
    admission.slots = 1
    places[0].leave()
    places[1].leave()
    assert admission.running == 1
    places[2].leave()
    assert places[3].is_admitted


@run
async def test_a_pause_holds_everybody_and_then_ends():
    admission = door(2)
    running = admission.enter(PERSON)
    admission.pause(30)
    places = [admission.enter(PERSON), admission.enter(BULK)]
    running.leave()
    await asyncio.sleep(29.9)
    assert not any(place.is_admitted for place in places)
    await asyncio.sleep(0.2)
    assert all(place.is_admitted for place in places)


@run
async def test_nobody_waits_for_a_pause_that_is_longer_than_is_patient():
    admission = door(1, pause_max_s=60)
    running, place = admission.enter(PERSON), admission.enter(PERSON)
    waiting = asyncio.create_task(place.moved(look_every_s=1))
    await asyncio.sleep(0)
    admission.pause(200)
    with pytest.raises(errors.RateLimited) as refused:
        await waiting
    assert refused.value.retry_after_s == pytest.approx(200)
    with pytest.raises(errors.RateLimited):
        admission.enter(PERSON)
    place.leave()
    running.leave()
    await asyncio.sleep(141)
    late = admission.enter(PERSON)
    await late.moved(look_every_s=1)
    assert asyncio.get_running_loop().time() >= 200


@run
async def test_an_absurd_pause_ends_within_a_quarter_of_an_hour():
    admission = door(1)
    admission.pause(1e12)
    assert admission.paused_s == 900


@run
async def test_bulk_moves_on_while_people_keep_coming():
    admission = door(4)
    bulk = [admission.enter(BULK, "batch") for _n in range(50)]
    people = [admission.enter(PERSON, n) for n in range(500)]
    for _round in range(50):
        for place in [place for place in (*bulk, *people) if place in admission._running]:
            place.leave()
    assert sum(place.is_admitted for place in bulk) == 50
    assert sum(place.is_admitted for place in people) >= 150


@run
async def test_bulk_moves_on_even_where_there_is_one_slot():
    admission = door(1)
    bulk = admission.enter(BULK), admission.enter(BULK)
    people = [admission.enter(PERSON) for _n in range(30)]
    bulk[0].leave()
    for n in range(8):
        assert people[n].is_admitted
        people[n].leave()
    assert bulk[1].is_admitted


@run
async def test_three_hundred_bulk_calls_delay_no_person_by_more_than_the_calls_in_flight():
    """Each call takes a second, so a wait is counted in calls."""
    admission, loop = door(4), asyncio.get_running_loop()
    begun = []

    async def call(priority, user):
        since_s = loop.time()
        place = admission.enter(priority, user)
        try:
            while not place.is_admitted:
                await place.moved(look_every_s=1)
            begun.append((priority, loop.time() - since_s, loop.time()))
            await asyncio.sleep(1)
        finally:
            place.leave()

    calls = [asyncio.create_task(call(BULK, "batch")) for _n in range(300)]
    await asyncio.sleep(0.5)
    calls += [asyncio.create_task(call(PERSON, n)) for n in range(30)]
    await asyncio.gather(*calls)
    waits = [wait_s for priority, wait_s, _when in begun if priority is PERSON]
    # Three slots are theirs: the k-th waits for the calls in flight and those before it.
    assert all(wait_s <= 0.5 + k // 3 + 0.01 for k, wait_s in enumerate(waits))
    meanwhile = [when for priority, _wait, when in begun if priority is BULK and when <= 0.5 + max(waits)]
    assert len(meanwhile) - 4 >= 10
    assert len(begun) == 330
