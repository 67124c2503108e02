"""Budgets: reserved before each call, and settled with what it used."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.errors import RequestRefused
from chat.generation.budgets import DEFAULT_ANSWER_TOKENS, answer_limit, worst_amounts
from chat.generation.claim import claim_as_stored
from chat.generation.start import start_here
from chat.models import (
    ApiKey,
    Budget,
    BudgetReservation,
    BudgetUse,
    Conversation,
    Model,
)
from chat.models.api_request import ApiRequest
from chat.models.budget import presence
from chat.models.budget_use import CallAmounts, remaining, settle_abandoned
from tests.generation.support import add_fallback, orphan

pytestmark = pytest.mark.django_db

PRICES = {"input_usd_per_million": Decimal(1), "output_usd_per_million": Decimal(10)}


@pytest.fixture(autouse=True)
def _no_budgets():
    """Start with what a new process knows."""
    presence.note(any_exist=False)
    yield
    presence.note(any_exist=False)


def budget(amount, unit="tokens", **fields):
    return Budget.objects.create(**({"amount": Decimal(amount), "unit": unit} | fields))


abudget = sync_to_async(budget)


@sync_to_async
def use():
    """Return what is used and reserved of the only period, and how many reservations there are."""
    row = BudgetUse.objects.get()
    return row.used, row.reserved, BudgetReservation.objects.count()


async def begun(life, text, **fields):
    """Ask as the page does, and wait for the end of the answer."""
    life.questions += 1
    verb = partial(Conversation.ask, life.user, text, client_id=f"id{life.questions}", **fields)
    started, run = await start_here(life.runner, life.user, verb)
    if run is not None:
        await run
    return started


# -- the rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "starts_on", "renews_on"),
    [
        ("day", "2026-12-31", "2027-01-01"),
        ("week", "2026-12-28", "2027-01-04"),
        ("month", "2026-12-01", "2027-01-01"),
    ],
)
def test_periods_follow_the_time_zone_of_the_site(settings, period, starts_on, renews_on):
    settings.TIME_ZONE = "Pacific/Auckland"
    now = datetime(2026, 12, 30, 12, tzinfo=UTC)  # the 31st there
    found = Budget(period=period)
    assert (str(found.starts_on(now)), str(found.renews_on(now))) == (starts_on, renews_on)
    assert "Pacific/Auckland" in found.renewal(now)


def test_a_budget_applies_to_its_user_to_members_and_to_its_key(user, other_user):
    group = Group.objects.create(name="class")
    user.groups.add(group)
    key, _secret = ApiKey.make(user, "key")
    budgets = {
        "everyone": budget(1, scope="everyone"),
        "user": budget(1, scope="user", user=user),
        "group": budget(1, scope="group", group=group),
        "key": budget(1, scope="api_key", api_key=key),
    }
    applying = Budget.objects.applying_to
    assert list(applying(user.pk, None)) == [budgets[name] for name in ("everyone", "user", "group")]
    assert list(applying(user.pk, key.pk)) == list(budgets.values())
    assert list(applying(other_user.pk, None)) == [budgets["everyone"]]


def test_amounts_are_whole_and_rounded_up():
    assert CallAmounts(7, Decimal("0.0000011")).of(Budget(unit="usd")) == 2
    assert CallAmounts(7, Decimal("0.0000011")).of(Budget(unit="tokens")) == 7
    assert CallAmounts(7).of(Budget(unit="usd")) == 0  # no prices: no money


def test_the_worst_case_is_the_prompt_with_a_margin_and_the_longest_answer():
    priced = Model(**PRICES)
    assert worst_amounts(100, None, priced).tokens == 115 + DEFAULT_ANSWER_TOKENS
    limited = ApiRequest([], {"max_tokens": 50, "n": 3})
    assert worst_amounts(100, limited, priced) == CallAmounts(265, Decimal("0.001615"))
    small = Model(context_tokens=60, max_output_tokens=100, reasoning_usd_per_million=Decimal(20), **PRICES)
    assert answer_limit(None, small) == 60
    assert worst_amounts(100, None, small) == CallAmounts(120, Decimal("0.00126"))  # all of it reasoning
    assert worst_amounts(100, None, Model()).usd is None


# -- one answer ---------------------------------------------------------------------------------------


async def test_an_answer_is_settled_with_what_it_used(living):
    async with living(max_output_tokens=500, **PRICES) as life:
        await abudget(5, "usd")
        started = await begun(life, "hello")
        used, reserved, count = await use()
        row = await life.row(started)
        assert (used, reserved, count) == (row.cost_usd * 1_000_000, 0, 0)
        assert used > 0


async def test_without_budgets_a_question_costs_no_statement_more(user, model):
    @sync_to_async
    def statements():
        started = Conversation.ask(user, "hello", client_id=uuid4().hex)
        with CaptureQueriesContext(connection) as queries:
            claim_as_stored(started, "me")
        return [query["sql"] for query in queries]

    assert not any("budget" in sql for sql in await statements())
    await abudget(100_000)
    assert any("budget" in sql for sql in await statements())


async def test_a_question_without_room_is_refused_and_not_stored(living):
    async with living(max_output_tokens=500) as life:
        await abudget(510, period="day")
        with pytest.raises(RequestRefused) as refused:
            await begun(life, "a question of more than ten tokens, all in all, and with the margin")
        assert refused.value.code == "budget_exceeded"
        for part in ("Your daily budget", "0 of 510 tokens", "renews on", "00:00 (UTC)"):
            assert part in refused.value.message
        assert not await Conversation.objects.aexists()
        assert not await BudgetReservation.objects.aexists()


async def test_the_answer_is_limited_to_what_was_reserved(living):
    async with living() as life:
        await begun(life, "hello")
        assert "max_tokens" not in life.provider.requests[-1].body
        await abudget(100_000)
        await begun(life, "hello")
        assert life.provider.requests[-1].body["max_tokens"] == DEFAULT_ANSWER_TOKENS


async def test_a_call_that_was_cut_counts_and_the_next_one_is_reserved_again(living):
    async with living(max_output_tokens=200, context_tokens=1000) as life:
        await abudget(100_000)
        started = await begun(life, "[[cut after=3 times=1]]")
        row = await life.row(started)
        assert await row.attempts.acount() == 2
        assert await use() == (row.input_tokens + row.output_tokens, 0, 0)


async def test_an_answer_ends_where_the_budget_does(living):
    async with living(max_output_tokens=200) as life:
        await abudget(230)
        started = await begun(life, "[[cut after=10 times=1]]")
        row = await life.row(started)
        assert (row.status, row.error_code) == ("interrupted", "budget_exceeded")
        assert "Your monthly budget" in row.error_message
        assert await row.attempts.acount() == 1
        assert await use() == (row.input_tokens + row.output_tokens, 0, 0)
        assert row.calls == 1


async def test_a_fallback_is_reserved_at_its_own_prices(living):
    async with living(max_output_tokens=200, **PRICES) as life:
        dear = {name: price * 1_000 for name, price in PRICES.items()}
        await add_fallback(life.provider, max_output_tokens=200, **dear)
        await abudget("0.5", "usd")
        life.provider.script("status=401", model="fake")
        started = await begun(life, "hello")
        row = await life.row(started)
        assert row.error_code == "budget_exceeded"
        assert await use() == (0, 0, 0)


async def test_a_dead_process_leaves_a_reservation_that_is_settled(living):
    async with living(max_output_tokens=200, context_tokens=1000) as life:
        await abudget(100_000)
        verb = partial(Conversation.ask, life.user, "hello", client_id="dead")

        def claimed_elsewhere():
            started = verb()
            claim_as_stored(started, "dead")
            return started

        started = await life.writer.arun(claimed_elsewhere)
        assert (await use())[2] == 1
        await life.run(started.generation_id, from_owner="dead")
        row = await life.row(started)
        assert row.status == "completed"
        assert await use() == (row.input_tokens + row.output_tokens, 0, 0)


async def test_a_takeover_without_room_ends_the_answer(living):
    async with living(max_output_tokens=200) as life:
        started = await orphan(life)
        await abudget(100)
        await life.run(started.generation_id, from_owner="dead")
        row = await life.row(started)
        assert (row.status, row.error_code) == ("failed", "budget_exceeded")
        assert await row.attempts.filter(outcome="running").acount() == 0


async def test_bulk_waits_while_other_answers_hold_the_room(living):
    async with living(max_output_tokens=200) as life:
        await abudget(225)
        model = await Model.objects.select_related("endpoint").aget()
        request = ApiRequest([{"role": "user", "content": "hello"}])

        def store(number):
            client_id = f"bulk{number}"
            return Conversation.ask_once(life.user, request, model=model, client_id=client_id, source="batch")

        bulk = [await life.writer.arun(partial(store, number)) for number in range(2)]
        first = life.runner.start(bulk[0].generation_id)
        second = life.runner.start(bulk[1].generation_id)
        await second
        assert (await life.row(bulk[1])).status == "queued"
        assert life.runner.without_room == {life.user.pk}
        await first
        assert life.runner.without_room == set()
        await life.run(bulk[1].generation_id)
        assert (await life.row(bulk[1])).status == "failed"  # nothing else holds the room: it will not fit


async def test_a_soft_warning_comes_once_in_a_period(living):
    async with living(max_output_tokens=200) as life:
        await abudget(1_000, warning_percent=2)
        warnings = [(await begun(life, "hello")).warning for _ in range(3)]
        assert warnings[0] == warnings[2] == ""
        assert "Your monthly budget is nearly used up" in warnings[1]


# -- what was there before, and what is left behind ----------------------------------------------------


async def test_what_was_used_before_the_budget_existed_counts(living):
    async with living(max_output_tokens=200) as life:
        row = await life.row(await begun(life, "hello"))
        await abudget(100_000)
        (budget_, period), *_others = await sync_to_async(remaining)(life.user.pk)
        assert period.used == row.input_tokens + row.output_tokens
        await begun(life, "hello")
        assert (await use())[0] == 2 * period.used
        assert budget_.limit == 100_000


def test_a_reservation_of_a_deleted_answer_counts_in_full(user):
    found = budget(1_000)
    period = found.uses.create(member=user.pk, starts_on=found.starts_on(), used=10, reserved=30)
    BudgetReservation.objects.create(use=period, generation_id=404, amount=20)
    BudgetReservation.objects.create(use=period, owner="dead", amount=10)
    assert settle_abandoned(50) == 2
    assert settle_abandoned(50) == 0
    period.refresh_from_db()
    assert (period.used, period.reserved) == (40, 0)


async def test_members_have_a_budget_each_or_share_one(living, other_user):
    async with living(max_output_tokens=200) as life:
        group = await Group.objects.acreate(name="class")
        for member in (life.user, other_user):
            await member.groups.aadd(group)
        shared = await abudget(100_000, scope="group", group=group, is_shared=True)
        each = await abudget(100_000, scope="group", group=group)
        await begun(life, "hello")
        life.user = await User.objects.aget(pk=other_user.pk)
        await begun(life, "hello")
        uses = [(row.budget_id, row.member) async for row in BudgetUse.objects.order_by("budget", "member")]
        mine, other = sorted([other_user.pk, *[row[1] for row in uses if row[1] not in (0, other_user.pk)]])
        assert uses == [(shared.pk, 0), (each.pk, mine), (each.pk, other)]
        together = await BudgetUse.objects.aget(member=0)
        parts = [row.used async for row in BudgetUse.objects.exclude(member=0)]
        assert together.used == sum(parts)
