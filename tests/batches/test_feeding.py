"""A batch that runs here: its lines become generations a few at a time, each once, and its counts add up."""

import asyncio
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat.batches import feeding
from chat.batches.progress import BatchProgress
from chat.errors import RequestRefused
from chat.event_log.writer import InlineWriter
from chat.generation.claim import claim
from chat.generation.concurrency import limits_of
from chat.models import ApiKey, Batch, BatchLine, Budget, Conversation, Generation
from tests.batches.support import prompts, stored
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db


async def advance(batch):
    await feeding.advance(InlineWriter(), batch.pk, batch.user_id)
    await batch.arefresh_from_db()


def started(tmp_path, user, model, count):
    batch = stored(tmp_path, user, model, prompts(count))
    batch.start()
    return batch


def end_generations(status="completed", **values):
    """End all active generations, as a run does."""
    values = {"cost_usd": Decimal("0.01"), "input_tokens": 3, "output_tokens": 5} | values
    Generation.objects.active().update(status=status, finished_at=timezone.now(), **values)


def states(batch):
    return [line.state for line in batch.lines.order_by("number")]


async def a(call, *args, **kwargs):
    return await sync_to_async(call)(*args, **kwargs)


async def test_a_batch_that_is_not_started_stores_nothing(tmp_path, user, model):
    batch = await a(stored, tmp_path, user, model, prompts(2))
    await advance(batch)
    assert not await Generation.objects.aexists()


async def test_lines_become_bulk_generations_up_to_a_number(tmp_path, user, model, monkeypatch):
    monkeypatch.setattr(feeding, "ACTIVE_MAX", 3)
    batch = await a(started, tmp_path, user, model, 5)
    await advance(batch)
    assert await a(states, batch) == ["running"] * 3 + ["waiting"] * 2
    assert await Generation.objects.filter(source="batch", owner="", status="queued").acount() == 3
    await a(end_generations)
    await advance(batch)
    assert await a(states, batch) == ["completed"] * 3 + ["running"] * 2
    assert (batch.completed, batch.status) == (3, "in_progress")
    await a(end_generations)
    await advance(batch)
    assert (batch.completed, batch.failed, batch.status) == (5, 0, "completed")
    assert (batch.input_tokens, batch.output_tokens, batch.cost_usd) == (15, 25, Decimal("0.05"))
    assert batch.next_look_at is None
    assert await Generation.objects.acount() == 5


async def test_failed_lines_have_a_reason_and_are_run_again(tmp_path, user, model):
    batch = await a(started, tmp_path, user, model, 2)
    await advance(batch)
    first = await Generation.objects.order_by("pk").afirst()
    await Generation.objects.filter(pk=first.pk).aupdate(
        status="failed", finished_at=timezone.now(), error_code="overloaded", error_message="Too busy."
    )
    await a(end_generations)
    await advance(batch)
    assert (batch.completed, batch.failed, batch.status) == (1, 1, "completed")
    line = await batch.lines.aget(number=1)
    assert (line.state, line.error_code, line.reason) == ("failed", "overloaded", "Too busy.")

    await a(batch.retry)
    await advance(batch)
    assert (batch.failed, batch.status, batch.round) == (0, "in_progress", 1)
    assert await a(states, batch) == ["running", "completed"]
    await a(end_generations)
    await advance(batch)
    assert (batch.completed, batch.failed, batch.status) == (2, 0, "completed")
    with pytest.raises(RequestRefused):
        await a(batch.retry)


async def test_a_line_that_was_stored_before_a_death_is_not_stored_again(tmp_path, user, model):
    """A transaction stores both or none; and a repeat of the same id finds the first."""
    batch = await a(started, tmp_path, user, model, 2)
    await advance(batch)
    await BatchLine.objects.aupdate(state="waiting", generation=None)
    await advance(batch)
    assert await Generation.objects.acount() == 2
    assert await batch.lines.filter(generation__isnull=False).acount() == 2


async def test_a_paused_batch_starts_nothing_and_counts_what_ends(tmp_path, user, model, monkeypatch):
    monkeypatch.setattr(feeding, "ACTIVE_MAX", 1)
    batch = await a(started, tmp_path, user, model, 3)
    await advance(batch)
    await a(batch.pause)
    await a(end_generations)
    await advance(batch)
    assert await a(states, batch) == ["completed", "waiting", "waiting"]
    assert (batch.status, batch.next_look_at) == ("paused", None)
    await a(batch.resume)
    await advance(batch)
    assert await a(states, batch) == ["completed", "running", "waiting"]


async def test_a_cancelled_batch_stops_what_runs_and_ends(tmp_path, user, model, monkeypatch):
    monkeypatch.setattr(feeding, "ACTIVE_MAX", 1)
    batch = await a(started, tmp_path, user, model, 3)
    await advance(batch)
    await a(batch.cancel)
    await advance(batch)
    assert await a(states, batch) == ["running", "cancelled", "cancelled"]
    assert await Generation.objects.filter(stop_requested_at__isnull=False).acount() == 1
    await a(end_generations, "stopped")
    await advance(batch)
    assert (batch.status, batch.failed) == ("cancelled", 3)


async def test_a_batch_whose_lines_all_fail_has_failed(tmp_path, user, model):
    batch = await a(started, tmp_path, user, model, 2)
    await advance(batch)
    await a(end_generations, "interrupted", error_message="Cut.")
    await advance(batch)
    assert (batch.status, batch.failed) == ("failed", 2)


async def test_an_answer_that_was_erased_fails_its_line(tmp_path, user, model):
    batch = await a(started, tmp_path, user, model, 1)
    await advance(batch)
    await Conversation.objects.all().adelete()
    await advance(batch)
    assert (await batch.lines.aget()).error_code == "erased"
    assert batch.status == "failed"


def test_only_batches_with_something_to_do_are_due(tmp_path, user, model):
    batch = stored(tmp_path, user, model, prompts(1))
    assert not Batch.objects.due()
    batch.start()
    batch.start()
    assert list(Batch.objects.due()) == [batch]


def test_a_batch_is_its_users_only(tmp_path, user, other_user, model):
    batch = stored(tmp_path, user, model, prompts(1))
    assert Batch.get_for(user, str(batch.pk)) == batch
    for foreign in (str(batch.pk), "nonsense"):
        with pytest.raises(RequestRefused) as caught:
            Batch.get_for(other_user, foreign)
        assert caught.value.code == "not_found"


async def test_a_batch_of_a_program_is_charged_to_its_key_and_takes_none_of_its_places(
    tmp_path, user, model, settings
):
    settings.ASKS_PER_MINUTE_PER_KEY = 2
    key, _secret = await a(ApiKey.make, user, "key")
    key.running_max = 1
    budget = await Budget.objects.acreate(scope="api_key", api_key=key, amount=50_000, unit="tokens")
    batch = await a(started, tmp_path, user, model, 3)
    await Batch.objects.aupdate(api_key=key)
    await advance(batch)
    assert await Generation.objects.filter(api_key=key, source="batch").acount() == 3
    await a(key.check_limits)  # neither as running, nor as asked for in this minute
    generation = await Generation.objects.select_related("api_key").afirst()
    assert limits_of(generation) == {}
    claimed = await a(claim, generation.pk, "me", "")
    assert [each.budget for each in claimed.hold.held] == [budget]


async def test_pages_are_told_of_each_step_once(tmp_path, user, model):
    batch = await a(started, tmp_path, user, model, 2)
    async with open_runtime() as runtime:
        told = []
        runtime.notifications.open()
        runtime.notifications.subscribe(user.pk, told.append)
        progress = BatchProgress()

        async def look():
            await Batch.objects.filter(finished_at=None).aupdate(next_look_at=timezone.now())
            await progress.advance(runtime.runner)
            await asyncio.sleep(0)
            return [(each.what, each.batch) for each in told]

        changed = ("batch", str(batch.pk))
        assert await look() == [changed]
        assert await look() == [changed]  # nothing has happened
        await a(end_generations)
        assert await look() == [changed] * 2
