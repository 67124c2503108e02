"""Shared slots: let in when the common count says so and, while it cannot be asked, by one's part."""

import asyncio

from chat.upstream.admission import TRY_AGAIN_S, Admission, QueuePriority
from chat.upstream.shared_slots import SharingFailed, Trade
from tests.support.clock import warped

PERSON, API, BULK = QueuePriority


class Count:
    """The common count as one process sees it: grants what the test has put there, the most urgent first."""

    problem = None

    def __init__(self, free=0):
        self.free = free
        self.told = []
        self.is_down = False

    async def trade(self, endpoint, slots, held, waiting):
        await asyncio.sleep(0.001)
        if self.is_down:
            raise SharingFailed
        self.told.append((held, waiting))
        granted = []
        for count in waiting:
            granted.append(min(self.free, count))
            self.free -= granted[-1]
        return Trade(tuple(granted), sum(held) + sum(granted))


def door(count, slots=4, **options):
    return Admission(slots, endpoint="e", shared=count, clock=asyncio.get_running_loop().time, **options)


async def admitted(*places):
    for place in places:
        while await place.moved(look_every_s=1):
            pass


def in_line(*places):
    return [place.position for place in places]


def test_nobody_is_let_in_before_the_common_count_says_so():
    async def test():
        count = Count(free=0)
        admission = door(count)
        place = admission.enter(PERSON)
        await asyncio.sleep(1)
        assert not place.is_admitted
        count.free = 1
        await admitted(place)
        assert (admission.running, admission.in_use) == (1, 1)

    warped(test())


def test_those_who_are_let_in_are_the_first_of_the_own_line():
    async def test():
        count = Count(free=2)
        admission = door(count)
        bulk, api, person = (admission.enter(each) for each in (BULK, API, PERSON))
        await admitted(person, api)
        assert in_line(bulk, api, person) == [1, 0, 0]

    warped(test())


def test_what_is_given_back_is_told_at_once():
    async def test():
        count = Count(free=1)
        admission = door(count)
        place = admission.enter(PERSON)
        await admitted(place)
        place.leave()
        await asyncio.sleep(0.01)
        assert count.told[-1] == ((0, 0, 0), (0, 0, 0))
        told = len(count.told)
        await asyncio.sleep(60)
        assert len(count.told) == told

    warped(test())


def test_what_is_held_is_told_again_each_second():
    async def test():
        count = Count(free=1)
        await admitted(door(count).enter(API))
        told = len(count.told)
        await asyncio.sleep(10)
        assert 9 <= len(count.told) - told <= 11
        assert count.told[-1] == ((0, 1, 0), (0, 0, 0))

    warped(test())


def test_a_slot_for_somebody_who_has_left_is_given_back():
    async def test():
        count = Count(free=1)
        admission = door(count)
        admission.enter(PERSON).leave()
        place = admission.enter(PERSON)
        await asyncio.sleep(0)  # it is being asked for
        place.leave()
        await asyncio.sleep(0.1)
        assert admission.running == 0
        assert count.told[-1] == ((0, 0, 0), (0, 0, 0))

    warped(test())


def test_without_the_common_count_a_process_goes_by_its_part_until_it_is_back():
    async def test():
        count = Count(free=4)
        count.is_down = True
        admission = door(count, slots=4)
        admission.processes = 2
        places = [admission.enter(PERSON) for _ in range(4)]
        await admitted(*places[:2])
        await asyncio.sleep(TRY_AGAIN_S * 3)
        assert in_line(*places) == [0, 0, 1, 2]
        assert (admission.limit, admission.in_use) == (2, None)
        count.is_down = False
        await admitted(*places)

    warped(test())


def test_each_process_has_its_part_where_nothing_is_shared():
    async def test():
        admission = Admission(32)
        admission.processes = 3
        assert admission.limit == 10
        admission.processes = 100
        assert admission.limit == 1

    warped(test())


def test_while_the_endpoint_pauses_nothing_is_asked_for():
    async def test():
        count = Count(free=4)
        admission = door(count)
        admission.pause(5)
        place = admission.enter(PERSON)
        await asyncio.sleep(4)
        assert not place.is_admitted
        assert {waiting for _held, waiting in count.told} <= {(0, 0, 0)}
        await asyncio.sleep(2)
        assert place.is_admitted

    warped(test())


def test_a_line_that_may_hold_nobody_still_lets_in_whom_the_slots_take():
    async def test():
        places = [door(Count(free=4), waiting_max=0).enter(PERSON)]
        await admitted(*places)

    warped(test())
