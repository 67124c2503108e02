"""Tokens and costs: of each call, also of one that was cut, and their sum on the generation."""

from decimal import Decimal

import pytest

from chat import events
from chat.generation.usage import SAMPLE_CHARS, estimate_tokens
from chat.models import Attempt, Endpoint, Model
from chat.models.prices import CallTokens
from chat.usage import known_prices
from tests.generation.support import orphan

pytestmark = pytest.mark.django_db


async def attempts_of(generation):
    return [row async for row in Attempt.objects.filter(generation=generation).order_by("number")]


async def test_a_cut_call_is_counted_by_an_estimate_and_summed_with_the_next_one(living, settings):
    settings.RETRY_POLICY = {"backoff_first_s": 0.0}
    async with living(input_usd_per_million=1, output_usd_per_million=2) as life:
        done = await life.answer("hello [[cut after=20 times=1]]")
    cut, last = await attempts_of(done)
    assert (cut.is_usage_estimated, last.is_usage_estimated, done.is_usage_estimated) == (True, False, True)
    assert 10 < cut.output_tokens < 30  # of twenty deltas
    assert done.input_tokens == cut.input_tokens + last.input_tokens
    assert done.output_tokens == cut.output_tokens + last.output_tokens
    assert done.cost_usd == cut.cost_usd + last.cost_usd > 0


async def test_a_call_that_delivered_nothing_costs_nothing(living, settings):
    settings.RETRY_POLICY = {"backoff_first_s": 0.0}
    async with living(input_usd_per_million=1, output_usd_per_million=2) as life:
        done = await life.answer("[[status=503 times=1]]")
    failed, last = await attempts_of(done)
    assert (failed.input_tokens, failed.cost_usd, failed.is_usage_estimated) == (None, None, False)
    assert (done.cost_usd, done.is_usage_estimated) == (last.cost_usd, False)


async def test_a_stopped_call_is_counted_by_what_it_delivered(living):
    async with living(input_usd_per_million=1, output_usd_per_million=2) as life:
        accepted = await life.ask("[[hold=gate after=30]]")
        task = life.runner.start(accepted.generation_id)
        await life.provider.wait_held("gate")
        await life.stop(accepted.generation_id)
        await task
        done = await life.row(accepted)
    (stopped,) = await attempts_of(done)
    assert stopped.output_tokens == estimate_tokens(done.message.text) > 0
    assert (stopped.outcome, stopped.is_usage_estimated, done.cost_usd) == ("stopped", True, stopped.cost_usd)


async def test_a_call_whose_process_died_is_counted_by_the_text_in_the_log(living):
    async with living(input_usd_per_million=1, output_usd_per_million=2) as life:
        accepted = await orphan(life, events.Delta("one two three four five"))
        await life.run(accepted.generation_id, from_owner="dead")
        done = await life.row(accepted)
    lost, *others = await attempts_of(done)
    assert (lost.outcome, lost.output_tokens, lost.is_usage_estimated) == ("lost", 5, True)
    assert done.output_tokens == 5 + sum(each.output_tokens for each in others)


async def test_a_new_price_changes_no_old_cost_and_has_a_date(living):
    async with living(input_usd_per_million=1, output_usd_per_million=2) as life:
        first = await life.answer("hello")
        model = await Model.objects.aget()
        before = model.prices_since
        model.output_usd_per_million = 200
        await model.asave()
        again = await life.row(first.as_started())
        second = await life.answer("hello again")
    assert again.cost_usd == first.cost_usd < second.cost_usd
    assert before is None or before < model.prices_since


@pytest.mark.parametrize(
    ("tokens", "is_batch", "cost"),
    [
        (CallTokens(1_000_000, 1_000_000), False, "12"),
        (CallTokens(1_000_000, 1_000_000, cached=1_000_000), False, "11"),
        (CallTokens(1_000_000, 1_000_000, reasoning=500_000), False, "17"),
        (CallTokens(1_000_000, 1_000_000), True, "6"),
        # More cached tokens than input: a provider's mistake costs no negative amount.
        (CallTokens(10, 0, cached=1_000_000), False, "0.00001"),
    ],
)
def test_prices(tokens, is_batch, cost):
    model = Model(
        input_usd_per_million=Decimal(2),
        cached_input_usd_per_million=Decimal(1),
        output_usd_per_million=Decimal(10),
        reasoning_usd_per_million=Decimal(20),
    )
    assert model.cost_usd(tokens, is_batch=is_batch) == Decimal(cost)
    assert Model(input_usd_per_million=Decimal(1)).cost_usd(tokens) is None


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("Die Donaudampfschifffahrtsgesellschaft fährt heute nicht.", 13),
        ("我今天想去公园散步", 7),
        ("1234567 + 12 = ?", 6),
    ],
)
def test_tokens_are_estimated_within_a_quarter(text, tokens):
    """The expected numbers are those of o200k_base."""
    assert estimate_tokens(text) == pytest.approx(tokens, rel=0.25)


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"])
def test_published_prices_are_proposed_for_the_provider_that_publishes_them(name):
    model = Model(endpoint=Endpoint(base_url="https://api.openai.com/v1"), name=name)
    known_prices.find(model).apply(model)
    assert (model.input_usd_per_million, model.output_usd_per_million) == (Decimal("0.15"), Decimal("0.6"))
    elsewhere = Model(endpoint=Endpoint(base_url="http://127.0.0.1:8080/v1"), name=name)
    assert known_prices.find(elsewhere) is None


def test_staff_use_the_published_prices(client_of, staff):
    endpoint = Endpoint.objects.create(name="openai", base_url="https://api.openai.com/v1")
    known = Model.objects.create(endpoint=endpoint, name="gpt-4o-mini")
    unknown = Model.objects.create(endpoint=endpoint, name="of-tomorrow")
    browser = client_of(staff)
    page = browser.get(f"/admin/chat/model/{known.pk}/change/").content.decode()
    assert "input $0.15, cached input $0.075, output $0.6 per million tokens" in page
    data = {"action": "use_published_prices", "_selected_action": [known.pk, unknown.pk]}
    page = browser.post("/admin/chat/model/", data, follow=True).content.decode()
    known.refresh_from_db()
    assert (known.input_usd_per_million, known.prices_since is None) == (Decimal("0.15"), False)
    assert "No published prices are known for: of-tomorrow" in page


def test_the_estimate_of_a_long_text_reads_pieces_from_all_of_it():
    english, chinese = "The tide comes in twice a day. " * 1_000, "潮水每天涨落两次。" * 3_000
    apart = estimate_tokens(english) + estimate_tokens(chinese)
    assert len(english) < SAMPLE_CHARS > len(chinese)
    assert estimate_tokens((english + chinese) * 20) == pytest.approx(20 * apart, rel=0.05)
