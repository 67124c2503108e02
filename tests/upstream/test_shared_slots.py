"""Shared slots: calls start when the shared count grants them or, without it, within the own share."""

import asyncio

from chat.upstream.admission import RECONNECT_INTERVAL_S, Admission
from chat.upstream.queue import QueuePriority
from chat.upstream.shared_slots import SharedSlotsUnavailable, SlotGrant
from tests.support.clock import run_without_waiting

INTERACTIVE, API, BULK = QueuePriority


class FakeSharedSlots:
    """Grants as many slots as the test has made free, the most urgent calls first."""

    problem = None

    def __init__(self, free=0):
        self.free = free
        self.reports = []
        self.is_down = False

    async def acquire(self, endpoint, slots, program_slots, in_use, waiting):
        await asyncio.sleep(0.001)
        if self.is_down:
            raise SharedSlotsUnavailable
        self.reports.append((in_use, waiting))
        granted = []
        for count in waiting:
            granted.append(min(self.free, count))
            self.free -= granted[-1]
        return SlotGrant(tuple(granted), sum(in_use) + sum(granted))


def admission_with(shared, slots=4, **options):
    return Admission(slots, endpoint="e", shared=shared, clock=asyncio.get_running_loop().time, **options)


async def granted(*tickets):
    for ticket in tickets:
        while await ticket.wait_for_change(poll_interval_s=1):
            pass


def positions(*tickets):
    return [ticket.position for ticket in tickets]


def test_no_call_starts_before_the_shared_count_grants_it():
    async def test():
        shared = FakeSharedSlots(free=0)
        admission = admission_with(shared)
        ticket = admission.enter(INTERACTIVE)
        await asyncio.sleep(1)
        assert not ticket.is_granted
        shared.free = 1
        await granted(ticket)
        assert (admission.running, admission.in_use) == (1, 1)

    run_without_waiting(test())


def test_granted_slots_go_to_the_first_calls_of_the_own_queue():
    async def test():
        shared = FakeSharedSlots(free=2)
        admission = admission_with(shared)
        bulk, api, interactive = (admission.enter(each) for each in (BULK, API, INTERACTIVE))
        await granted(interactive, api)
        assert positions(bulk, api, interactive) == [1, 0, 0]

    run_without_waiting(test())


def test_a_released_slot_is_reported_at_once():
    async def test():
        shared = FakeSharedSlots(free=1)
        admission = admission_with(shared)
        ticket = admission.enter(INTERACTIVE)
        await granted(ticket)
        ticket.release()
        await asyncio.sleep(0.01)
        assert shared.reports[-1] == ((0, 0, 0), (0, 0, 0))
        reports = len(shared.reports)
        await asyncio.sleep(60)
        assert len(shared.reports) == reports

    run_without_waiting(test())


def test_running_calls_are_reported_again_each_second():
    async def test():
        shared = FakeSharedSlots(free=1)
        await granted(admission_with(shared).enter(API))
        reports = len(shared.reports)
        await asyncio.sleep(10)
        assert 9 <= len(shared.reports) - reports <= 11
        assert shared.reports[-1] == ((0, 1, 0), (0, 0, 0))

    run_without_waiting(test())


def test_a_slot_granted_to_a_released_ticket_is_given_back():
    async def test():
        shared = FakeSharedSlots(free=1)
        admission = admission_with(shared)
        admission.enter(INTERACTIVE).release()
        ticket = admission.enter(INTERACTIVE)
        await asyncio.sleep(0)  # the slot is being acquired
        ticket.release()
        await asyncio.sleep(0.1)
        assert admission.running == 0
        assert shared.reports[-1] == ((0, 0, 0), (0, 0, 0))

    run_without_waiting(test())


def test_without_the_shared_count_a_process_uses_its_share_until_the_count_is_back():
    async def test():
        shared = FakeSharedSlots(free=4)
        shared.is_down = True
        admission = admission_with(shared, slots=4)
        admission.processes = 2
        tickets = [admission.enter(INTERACTIVE) for _ in range(4)]
        await granted(*tickets[:2])
        await asyncio.sleep(RECONNECT_INTERVAL_S * 3)
        assert positions(*tickets) == [0, 0, 1, 2]
        assert (admission.limit, admission.in_use) == (2, None)
        shared.is_down = False
        await granted(*tickets)

    run_without_waiting(test())


def test_each_process_has_its_share_where_slots_are_not_shared():
    async def test():
        admission = Admission(32)
        admission.processes = 3
        assert admission.limit == 10
        admission.processes = 100
        assert admission.limit == 1

    run_without_waiting(test())


def test_no_slots_are_acquired_while_the_endpoint_is_paused():
    async def test():
        shared = FakeSharedSlots(free=4)
        admission = admission_with(shared)
        admission.pause(5)
        ticket = admission.enter(INTERACTIVE)
        await asyncio.sleep(4)
        assert not ticket.is_granted
        assert {waiting for _in_use, waiting in shared.reports} <= {(0, 0, 0)}
        await asyncio.sleep(2)
        assert ticket.is_granted

    run_without_waiting(test())


def test_a_queue_of_length_zero_still_accepts_calls_for_free_slots():
    async def test():
        tickets = [admission_with(FakeSharedSlots(free=4), waiting_max=0).enter(INTERACTIVE)]
        await granted(*tickets)

    run_without_waiting(test())
