"""Cleanup: what is deleted after a while, in short slices."""

import asyncio
import contextlib
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat import events
from chat.event_log.log import EventLog
from chat.event_log.writer import InlineWriter
from chat.models import Attempt, Conversation, Generation, LoggedEvent, Message
from chat.runtime import cleanup
from tests.support.runtime import running_generation

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Let every slice take two rows, and what follows begin at once."""
    monkeypatch.setattr(cleanup, "ROWS_MIN", 2)
    monkeypatch.setattr(cleanup, "ROWS_MAX", 2)
    monkeypatch.setattr(cleanup, "PAUSE_FACTOR", 0)


def ended(user, model, *, ago=timedelta(), rows=1):
    """Make an answer that ended, with its log."""
    generation = running_generation(user, model)
    Generation.objects.filter(pk=generation.pk).update(status="completed", finished_at=timezone.now() - ago)
    LoggedEvent.objects.bulk_create(
        LoggedEvent(generation_id=generation.pk, seq=seq, payload=events.encode(events.Delta("x")).decode())
        for seq in range(1, rows + 1)
    )
    return generation


def delete(conversation, *, ago):
    Conversation.objects.filter(pk=conversation.pk).update(deleted_at=timezone.now() - ago)


async def test_sweeps_take_what_is_old_and_nothing_else(user, model):
    def arrange():
        old = ended(user, model, ago=timedelta(hours=1), rows=5)
        new = ended(user, model)
        gone = old.message.conversation
        Message.objects.create(conversation=gone, role="user", parent=old.message)
        delete(gone, ago=timedelta(days=2))
        delete(new.message.conversation, ago=timedelta())
        for name, age in (("ended", 1), ("ended too", 1), ("ended as well", 1), ("fresh", -1)):
            expires = timezone.now() - timedelta(days=age)
            Session.objects.create(session_key=name, session_data="", expire_date=expires)
        return new

    new = await sync_to_async(arrange)()
    await cleanup.Cleanup().run(InlineWriter())

    assert {row.generation_id async for row in LoggedEvent.objects.all()} == {new.pk}
    assert {row.pk async for row in Conversation.objects.all()} == {new.message.conversation_id}
    assert {row.pk async for row in Session.objects.all()} == {"fresh"}


def test_a_slice_takes_no_more_rows_than_it_is_told(user, model):
    generation = ended(user, model, ago=timedelta(days=2), rows=5)
    conversation = generation.message.conversation
    messages = [generation.message]
    for _n in range(4):
        messages.append(Message.objects.create(conversation=conversation, role="user", parent=messages[-1]))
    Conversation.objects.filter(pk=conversation.pk).update(leaf=messages[-1])
    delete(conversation, ago=timedelta(days=2))

    assert cleanup.prune_logs(2) == 2
    assert LoggedEvent.objects.count() == 3
    assert cleanup.erase_deleted(2) == 2
    assert set(Message.objects.values_list("pk", flat=True)) == {message.pk for message in messages[:3]}


def test_everything_that_hangs_on_an_erased_message_goes_with_it(user, model):
    generation = ended(user, model, ago=timedelta(days=2), rows=3)
    Attempt.objects.create(generation=generation, number=1)
    delete(generation.message.conversation, ago=timedelta(days=2))

    assert cleanup.erase_deleted(100) < 100

    for table in (Attempt, Generation, LoggedEvent, Message, Conversation):
        assert not table.objects.exists(), table


async def test_who_follows_an_answer_whose_log_is_half_gone_gets_all_of_it(user, model):
    generation = await sync_to_async(ended)(user, model, ago=timedelta(days=2), rows=3)
    await Message.objects.filter(pk=generation.message_id).aupdate(text="xxx")
    await sync_to_async(cleanup.prune_logs)(2)

    async with contextlib.aclosing(EventLog(InlineWriter()).follow(generation.pk)) as log:
        rows = [row async for some in log for row in some]

    assert [row.seq for row in rows] == [1, 2]
    assert events.decode(rows[-1].payload).text == "xxx"


def test_slices_grow_and_shrink_with_the_time_they_take(monkeypatch):
    monkeypatch.setattr(cleanup, "ROWS_MIN", 10)
    monkeypatch.setattr(cleanup, "ROWS_MAX", 1000)
    assert cleanup.next_slice_rows(100, cleanup.SLICE_S * 2) == 50
    assert cleanup.next_slice_rows(100, cleanup.SLICE_S / 1000) == 200
    assert cleanup.next_slice_rows(800, cleanup.SLICE_S / 1000) == 1000
    assert cleanup.next_slice_rows(100, cleanup.SLICE_S * 1000) == 10


class SlowWriter:
    """A writer whose transactions last until `release` is set."""

    def __init__(self):
        self.operations, self.started, self.release = 0, asyncio.Event(), asyncio.Event()

    async def arun(self, operation):
        self.operations += 1
        self.started.set()
        await self.release.wait()
        return 0, 0.0


async def test_at_most_one_cleanup_runs_at_a_time_and_once_more_for_what_came_meanwhile(monkeypatch):
    monkeypatch.setattr(cleanup, "delete_loose_files", AsyncMock())
    writer, both = SlowWriter(), cleanup.Cleanup()
    first = asyncio.create_task(both.run(writer))
    await writer.started.wait()
    await both.run(writer)
    assert writer.operations == 1
    writer.release.set()
    await first
    assert writer.operations == 2 * len(cleanup.STEPS)
    await both.run(writer)
    assert writer.operations == 3 * len(cleanup.STEPS)
