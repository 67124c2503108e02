"""The breaker: when it opens, which calls it allows, how it closes. Tests move its clock by hand."""

import asyncio

import pytest

from chat.upstream import errors
from chat.upstream.breaker import INFINITE_S, Breaker, BreakerPolicy, BreakerState
from tests.support.clock import run_without_waiting


class ManualClock:
    """A clock that stands still until a test moves it."""

    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock=clock, uniform=lambda low, high: 1.0)


def fail(breaker, times=1):
    for _n in range(times):
        breaker.record_failure(breaker.try_acquire())


def succeed(breaker, times=1):
    for _n in range(times):
        breaker.record_success(breaker.try_acquire())


def opened(breaker):
    fail(breaker, 5)
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_five_failures_in_a_row_open_it(breaker):
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    assert breaker.try_acquire() is None


def test_a_success_between_failures_resets_the_count(breaker):
    fail(breaker, 4)
    succeed(breaker, 10)
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_half_of_ten_in_a_minute_opens_it(breaker):
    for _n in range(4):
        succeed(breaker)
        fail(breaker)
    succeed(breaker)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN


def test_less_than_half_does_not_open_it(breaker):
    for _n in range(20):
        succeed(breaker, 2)
        fail(breaker)
    assert breaker.state is BreakerState.CLOSED


def test_failures_of_more_than_a_minute_ago_are_forgotten(breaker, clock):
    for _n in range(4):
        fail(breaker)
        succeed(breaker)
    clock.now_s += 61
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_a_call_without_an_outcome_does_not_count(breaker):
    for _n in range(50):
        breaker.release(breaker.try_acquire())
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_it_stays_open_for_its_time_and_then_allows_exactly_one_call(breaker, clock):
    opened(breaker)
    assert breaker.wait_s == 15
    clock.now_s += 14.9
    assert breaker.try_acquire() is None
    clock.now_s += 0.2
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.try_acquire().is_probe
    assert [breaker.try_acquire() for _n in range(10)] == [None] * 10


def test_it_closes_when_the_probe_succeeds(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    breaker.record_success(breaker.try_acquire())
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_it_opens_again_when_the_probe_fails(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    breaker.record_failure(breaker.try_acquire())
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait_s == 15


def test_a_probe_without_an_outcome_is_followed_by_another(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    breaker.release(breaker.try_acquire())
    assert breaker.try_acquire().is_probe


def test_a_lost_probe_does_not_block_for_ever(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    lost = breaker.start_call(breaker.try_acquire(), outcome_within_s=40)
    clock.now_s += 39
    assert breaker.try_acquire() is None
    clock.now_s += 1
    second = breaker.try_acquire()
    assert second.is_probe
    breaker.record_failure(lost)
    breaker.release(lost)
    assert breaker.try_acquire() is None
    breaker.record_success(second)
    assert breaker.state is BreakerState.CLOSED


def test_calls_from_before_it_opened_do_not_count_any_more(breaker, clock):
    early = [breaker.try_acquire() for _n in range(20)]
    opened(breaker)
    clock.now_s += 15
    probe = breaker.try_acquire()
    breaker.record_success(early[0])
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.record_success(probe)
    for permit in early[1:]:
        breaker.record_failure(permit)
    assert breaker.state is BreakerState.CLOSED


def test_a_permit_is_void_once_the_breaker_opened_and_replaced_once_it_closed(breaker, clock):
    early = breaker.try_acquire()
    opened(breaker)
    assert breaker.start_call(early, outcome_within_s=1) is None
    breaker.close()
    assert breaker.start_call(early, outcome_within_s=1) is not None


def test_the_time_it_stays_open_differs():
    breaker = Breaker()
    waits = set()
    for _n in range(20):
        fail(breaker, 5)
        waits.add(round(breaker.wait_s, 2))
        breaker.close()
    assert len(waits) > 10
    assert 14.9 <= min(waits) <= max(waits) <= 19.5


def test_an_operator_holds_it_open_until_it_is_closed(breaker, clock):
    breaker.hold_open()
    clock.now_s += 10_000
    assert (breaker.state, breaker.wait_s, breaker.is_held) == (BreakerState.OPEN, INFINITE_S, True)
    assert breaker.try_acquire() is None
    breaker.close()
    assert breaker.try_acquire() is not None


# -- waiting for a permit --------------------------------------------------------------------------


def on_its_loop():
    return Breaker(BreakerPolicy(open_jitter=0), clock=asyncio.get_running_loop().time)


def waiting_for(breaker, *calls):
    return [asyncio.create_task(breaker.acquire(each)) for each in calls]


def test_of_waiting_calls_the_one_with_fewest_calls_that_came_first_gets_the_probe():
    async def main():
        breaker = opened(on_its_loop())
        waiters = waiting_for(breaker, 2, 1, 1, 0, 0)
        await asyncio.sleep(15.1)
        assert [task.done() for task in waiters] == [False, False, False, True, False]
        assert waiters[3].result().is_probe
        breaker.record_success(waiters[3].result())
        permits = await asyncio.gather(*waiters)
        assert [permit.is_probe for permit in permits] == [False, False, False, True, False]
        assert breaker.waiting == 0

    run_without_waiting(main())


def test_waiting_calls_are_notified_when_it_opens_again():
    async def main():
        breaker = opened(on_its_loop())
        waiters = waiting_for(breaker, 0, 0, 0)
        await asyncio.sleep(15.1)
        breaker.record_failure(waiters[0].result())
        assert (await asyncio.gather(*waiters))[1:] == [None, None]
        assert breaker.wait_s == pytest.approx(15)

    run_without_waiting(main())


def test_a_cancelled_waiter_does_not_use_up_the_probe():
    async def main():
        breaker = opened(on_its_loop())
        waiters = waiting_for(breaker, 0, 0, 0)
        await asyncio.sleep(1)
        waiters[0].cancel()
        await asyncio.sleep(0)
        assert breaker.waiting == 2
        await asyncio.sleep(14.5)
        assert waiters[1].done()
        # It got the probe and is cancelled before it makes its call.
        waiters[1].cancel()
        breaker.release(waiters[1].result())
        await asyncio.sleep(0.1)
        assert waiters[2].result().is_probe

    run_without_waiting(main())


def test_a_permit_granted_to_a_waiter_that_is_cancelled_at_the_same_time_is_passed_on():
    async def main():
        breaker = opened(on_its_loop())
        waiters = waiting_for(breaker, 0, 0)
        # Within the clock's resolution, so that grant and cancellation share one iteration of the loop.
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + breaker.wait_s + 1e-10, waiters[0].cancel)
        await asyncio.sleep(15.1)
        assert waiters[0].cancelled()
        assert waiters[1].result().is_probe

    run_without_waiting(main())


def test_a_lost_probe_is_followed_by_that_of_a_waiting_call():
    async def main():
        breaker = opened(on_its_loop())
        waiters = waiting_for(breaker, 0, 0)
        await asyncio.sleep(15.1)
        assert [task.done() for task in waiters] == [True, False]
        await asyncio.sleep(30)
        assert waiters[1].result().is_probe

    run_without_waiting(main())


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (errors.Unreachable(), True),
        (errors.ConnectTimedOut(), True),
        (errors.ServerFailed(status=500), True),
        (errors.ServerFailed(status=529), True),
        (errors.ServerFailed(status=408), False),
        (errors.ServerFailed(status=409), False),
        (errors.RateLimited(status=429), False),
        (errors.Rejected(status=400), False),
        (errors.WrongKey(status=401), False),
        (errors.ContextTooLong(), False),
        (errors.ContentFiltered(), False),
        (errors.QuotaExhausted(), False),
        (errors.FirstTokenTimedOut(), True),
        (errors.Stalled(), True),
        (errors.TotalTimedOut(), False),
        (errors.Cut(), True),
        (errors.Malformed(), True),
        (errors.NotAStream(), True),
        (errors.StreamedError(), True),
        (errors.AnswerUnusable(), False),
        (errors.BreakerOpen(), False),
        (errors.QueueFull(), False),
    ],
    ids=lambda value: f"{value.code}-{value.status}" if isinstance(value, errors.UpstreamError) else "",
)
def test_what_counts_against_an_endpoint(error, counts):
    assert error.counts_against is counts
