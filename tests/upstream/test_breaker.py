"""The breaker: when it opens, whom it lets through, how it closes. Its clock is put forward by hand."""

import asyncio

import pytest

from chat.upstream import errors
from chat.upstream.breaker import INFINITE_S, Breaker, BreakerPolicy, BreakerState
from tests.support.clock import warped


class Hand:
    """A clock that stands still until it is moved."""

    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def breaker(clock):
    return Breaker(clock=clock, uniform=lambda low, high: 1.0)


def fail(breaker, times=1):
    for _n in range(times):
        breaker.failed(breaker.permit())


def succeed(breaker, times=1):
    for _n in range(times):
        breaker.succeeded(breaker.permit())


def opened(breaker):
    fail(breaker, 5)
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_five_failures_in_a_row_open_it(breaker):
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    assert breaker.permit() is None


def test_a_success_between_failures_begins_the_row_anew(breaker):
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


def test_a_call_without_a_verdict_counts_as_nothing(breaker):
    for _n in range(50):
        breaker.withdrawn(breaker.permit())
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_it_stays_open_for_its_time_and_then_lets_exactly_one_through(breaker, clock):
    opened(breaker)
    assert breaker.wait_s == 15
    clock.now_s += 14.9
    assert breaker.permit() is None
    clock.now_s += 0.2
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.permit().is_probe
    assert [breaker.permit() for _n in range(10)] == [None] * 10


def test_it_closes_when_the_probe_succeeds(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    breaker.succeeded(breaker.permit())
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_it_opens_for_another_while_when_the_probe_fails(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    breaker.failed(breaker.permit())
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait_s == 15


def test_a_probe_without_a_verdict_leaves_its_turn_to_the_next(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    breaker.withdrawn(breaker.permit())
    assert breaker.permit().is_probe


def test_a_lost_probe_does_not_block_for_ever(breaker, clock):
    opened(breaker)
    clock.now_s += 15
    lost = breaker.begin(breaker.permit(), judged_within_s=40)
    clock.now_s += 39
    assert breaker.permit() is None
    clock.now_s += 1
    second = breaker.permit()
    assert second.is_probe
    breaker.failed(lost)
    breaker.withdrawn(lost)
    assert breaker.permit() is None
    breaker.succeeded(second)
    assert breaker.state is BreakerState.CLOSED


def test_what_began_before_it_opened_has_no_say_any_more(breaker, clock):
    early = [breaker.permit() for _n in range(20)]
    opened(breaker)
    clock.now_s += 15
    probe = breaker.permit()
    breaker.succeeded(early[0])
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.succeeded(probe)
    for permit in early[1:]:
        breaker.failed(permit)
    assert breaker.state is BreakerState.CLOSED


def test_a_permit_from_before_is_void_once_it_opened_and_renewed_once_it_closed(breaker, clock):
    early = breaker.permit()
    opened(breaker)
    assert breaker.begin(early, judged_within_s=1) is None
    breaker.close()
    assert breaker.begin(early, judged_within_s=1) is not None


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
    assert breaker.permit() is None
    breaker.close()
    assert breaker.permit() is not None


# -- the line behind it ----------------------------------------------------------------------------


def on_its_loop():
    return Breaker(BreakerPolicy(open_jitter=0), clock=asyncio.get_running_loop().time)


def in_line(breaker, *calls):
    return [asyncio.create_task(breaker.turn(each)) for each in calls]


def test_of_those_in_line_one_is_let_through_who_lost_least_and_came_first():
    async def main():
        breaker = opened(on_its_loop())
        line = in_line(breaker, 2, 1, 1, 0, 0)
        await asyncio.sleep(15.1)
        assert [task.done() for task in line] == [False, False, False, True, False]
        assert line[3].result().is_probe
        breaker.succeeded(line[3].result())
        permits = await asyncio.gather(*line)
        assert [permit.is_probe for permit in permits] == [False, False, False, True, False]
        assert breaker.waiting == 0

    warped(main())


def test_those_in_line_are_told_when_it_opened_anew():
    async def main():
        breaker = opened(on_its_loop())
        line = in_line(breaker, 0, 0, 0)
        await asyncio.sleep(15.1)
        breaker.failed(line[0].result())
        assert (await asyncio.gather(*line))[1:] == [None, None]
        assert breaker.wait_s == pytest.approx(15)

    warped(main())


def test_one_who_leaves_the_line_takes_nobodys_turn():
    async def main():
        breaker = opened(on_its_loop())
        line = in_line(breaker, 0, 0, 0)
        await asyncio.sleep(1)
        line[0].cancel()
        await asyncio.sleep(0)
        assert breaker.waiting == 2
        breaker._let_one_through()
        await asyncio.sleep(14.5)
        assert line[1].done()
        # Chosen, and gone in the same moment.
        line[1].cancel()
        breaker.withdrawn(line[1].result())
        await asyncio.sleep(0.1)
        assert line[2].result().is_probe

    warped(main())


def test_a_permit_granted_to_one_who_is_cancelled_in_that_moment_goes_on():
    async def main():
        breaker = opened(on_its_loop())
        line = in_line(breaker, 0, 0)
        await asyncio.sleep(14.9)
        breaker._until_s = 0
        breaker._let_one_through()
        line[0].cancel()
        await asyncio.sleep(0.1)
        assert line[0].cancelled()
        assert line[1].result().is_probe

    warped(main())


def test_a_lost_probe_is_followed_by_another_from_the_line():
    async def main():
        breaker = opened(on_its_loop())
        line = in_line(breaker, 0, 0)
        await asyncio.sleep(15.1)
        assert [task.done() for task in line] == [True, False]
        await asyncio.sleep(30)
        assert line[1].result().is_probe

    warped(main())


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
