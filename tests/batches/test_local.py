"""Local batches: requests are stored once, in order, hidden from pages, and picked up at once."""

import asyncio

import pytest

from chat import tasks
from chat.batches import local
from chat.errors import RequestRefused
from chat.event_log.writer import InlineWriter
from chat.models import Conversation, Generation
from chat.models.api_request import ApiRequest
from tests.support.runtime import open_runtime

pytestmark = pytest.mark.django_db


def questions(count, text="question"):
    return [ApiRequest([{"role": "user", "content": f"{text} {n}"}]) for n in range(count)]


async def test_bulk_waits_in_order_and_on_no_page(user, model):
    ids = await local.store(InlineWriter(), user, model, questions(45), batch_id="b")
    stored = [row async for row in Generation.objects.order_by("pk")]
    assert [row.pk for row in stored] == ids
    assert [row.api_request.text for row in stored] == [f"question {n}" for n in range(45)]
    assert {(row.source, row.status, row.owner) for row in stored} == {("batch", "queued", "")}
    assert not await Conversation.objects.visible().aexists()


async def test_bulk_locks_its_user_before_its_transaction_locks_anything_else(user, model):
    """Writers of two servers lock the users of a group in one order; a lock taken later could deadlock."""
    locked = []

    class RecordingWriter(InlineWriter):
        def submit(self, operation, *, user_id=None):
            locked.append(user_id)
            return super().submit(operation, user_id=user_id)

    await local.store(RecordingWriter(), user, model, questions(25), batch_id="b")
    assert locked == [user.pk] * 2


async def test_a_batch_that_is_stored_again_adds_what_is_missing_and_nothing_twice(user, model):
    first = await local.store(InlineWriter(), user, model, questions(3), batch_id="b")
    again = await local.store(InlineWriter(), user, model, questions(5), batch_id="b")
    assert again[:3] == first
    assert await Generation.objects.acount() == 5


async def test_another_request_under_the_same_name_is_refused(user, model):
    await local.store(InlineWriter(), user, model, questions(3), batch_id="b")
    with pytest.raises(RequestRefused) as caught:
        await local.store(InlineWriter(), user, model, questions(3, "other"), batch_id="b")
    assert caught.value.code == "conflict"


async def test_bulk_is_picked_up_when_it_was_stored(user, model, monkeypatch):
    woken = asyncio.Event()
    async with open_runtime() as runtime:
        monkeypatch.setattr(runtime.heartbeat, "wake", woken.set)
        await tasks.start_bulk(user, model, questions(2), batch_id="b")
        await woken.wait()
