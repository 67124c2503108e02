"""Fallbacks: which model answers instead, and how users and staff learn of it."""

from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from chat import events
from chat.models import Attempt
from tests.generation.support import add_fallback, logged

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


async def test_a_fallback_answers_and_everything_says_so(living):
    async with living(input_usd_per_million=1, output_usd_per_million=1) as life:
        life.provider.script("status=401", model="fake")
        await add_fallback(life.provider, input_usd_per_million=5, output_usd_per_million=5)
        done = await life.answer("hello")
        expected = life.provider.text_for("hello", "fake:second")
    rows = [row async for row in Attempt.objects.filter(generation=done)]
    assert (done.status, done.message.text, done.calls) == ("completed", expected, 2)
    assert [(row.model_name, row.endpoint_name, row.outcome, row.error_code) for row in rows] == [
        ("fake", "fake", "failed", "wrong_key"),
        ("fake:second", "at fake:second", "completed", ""),
    ]
    assert done.cost_usd == Decimal(5 * (done.input_tokens + done.output_tokens)) / 1_000_000
    [switched] = await logged(done.pk, events.Switched)
    assert (switched.model, switched.code) == ("fake:second", "wrong_key")
    assert "fake:second answers instead." in switched.message
    assert "administrator" not in switched.message


async def test_nothing_falls_over_to_another_confidentiality(living):
    async with living() as life:
        await add_fallback(life.provider, confidentiality="public")
        done = await life.answer("[[status=401]]")
        assert {record.body["model"] for record in life.provider.requests} == {"fake"}
    assert (done.status, done.error_code) == ("failed", "wrong_key")


async def test_nothing_falls_over_to_what_is_switched_off(living):
    async with living() as life:
        await add_fallback(life.provider, is_enabled=False)
        done = await life.answer("[[status=401]]")
    assert done.error_code == "wrong_key"


async def test_each_model_of_the_route_is_sent_what_fits_it(living):
    async with living(context_tokens=600) as life:
        await add_fallback(life.provider, context_tokens=100_000, system_prompt="Be brief.")
        first = await life.answer("turn " + "word " * 300 + "[[text=ok]]")
        life.provider.script("status=401", model="fake")
        done = await life.answer("more " + "word " * 100, conversation_id=first.message.conversation_id)
        small, large = (record.body["messages"] for record in life.provider.requests[-2:])
    assert [message["role"] for message in small] == ["user"]
    assert [message["role"] for message in large] == ["system", "user", "assistant", "user"]
    assert done.left_out == 0
