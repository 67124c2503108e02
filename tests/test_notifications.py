"""Notices: delivered here at once, elsewhere when the channel layer works, and never waited for."""

import asyncio
import contextlib

import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.utils import timezone

from chat import notifications as notifications_module
from chat.models import Conversation, Generation
from chat.notifications import STOP_REQUESTED, Notice, Notifications, changes_since
from tests.support.runtime import owned_by, turn_until


class SilentLayer(InMemoryChannelLayer):
    """A channel layer that never finishes anything."""

    async def group_send(self, group, message):
        await asyncio.Event().wait()

    async def group_add(self, group, channel):
        await asyncio.Event().wait()


class BrokenLayer(InMemoryChannelLayer):
    async def group_send(self, group, message):
        raise ConnectionError

    async def group_add(self, group, channel):
        raise ConnectionError


@contextlib.asynccontextmanager
async def exchanging(*several):
    """Run these notifications while the block lasts."""
    for each in several:
        each.open()
    tasks = [asyncio.create_task(each.run()) for each in several]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def inbox(notifications, user_id=1):
    """Subscribe; return the queue of what arrives."""
    queue = asyncio.Queue()
    notifications.subscribe(user_id, queue.put_nowait)
    return queue


@pytest.mark.parametrize("layer", [None, SilentLayer(), BrokenLayer()])
async def test_pages_of_this_process_are_notified_whatever_the_layer_does(layer):
    notifications = Notifications(layer, process_id="a")
    received = inbox(notifications)
    async with exchanging(notifications):
        notifications.changed(1, "c", "renamed")  # returns at once
        assert await received.get() == Notice(user_id=1, conversation="c", what="renamed")


async def test_pages_of_another_process_are_notified_over_the_layer():
    layer = InMemoryChannelLayer()
    here, there = Notifications(layer, process_id="a"), Notifications(layer, process_id="b")
    received, own = inbox(there), inbox(here)
    async with exchanging(here, there):
        await turn_until(lambda: len(layer.groups.get(notifications_module.GROUP, ())) == 2)
        here.changed(1, "c", "started", generation=7)
        notice = await received.get()
        assert (notice.conversation, notice.what, notice.generation) == ("c", "started", 7)
        await own.get()
        assert own.empty(), "its own pages are notified once"


async def test_a_stop_is_carried_out_in_the_process_that_runs_the_answer():
    layer = InMemoryChannelLayer()
    here, there = Notifications(layer, process_id="a"), Notifications(layer, process_id="b")
    stopped = asyncio.Queue()
    there.on_stop(stopped.put_nowait)
    async with exchanging(here, there):
        await turn_until(lambda: len(layer.groups.get(notifications_module.GROUP, ())) == 2)
        here.stop_requested(1, 7)
        assert await stopped.get() == 7


async def test_a_layer_that_fails_is_reported_and_its_recovery_too(monkeypatch):
    monkeypatch.setattr(notifications_module, "RETRY_S", 0)
    monkeypatch.setattr(notifications_module, "ECHO_EVERY_S", 0.001)
    layer = InMemoryChannelLayer()
    broken = BrokenLayer()
    sends, adds = layer.group_send, layer.group_add
    layer.group_send, layer.group_add = broken.group_send, broken.group_add
    notifications = Notifications(layer, process_id="a")
    async with exchanging(notifications):
        await turn_until(lambda: notifications.problem)
        assert notifications.problem.startswith("degraded")
        layer.group_send, layer.group_add = sends, adds
        await turn_until(lambda: notifications.problem is None)


async def test_a_user_without_open_pages_is_forgotten():
    notifications = Notifications()
    receiver = asyncio.Queue().put_nowait
    notifications.subscribe(1, receiver)
    assert notifications.subscribers() == {1}
    notifications.unsubscribe(1, receiver)
    notifications.unsubscribe(1, receiver)
    assert notifications.subscribers() == set()


@pytest.mark.django_db
async def test_polling_finds_what_changed_since_and_nothing_of_other_users(user, other_user, model):
    since = timezone.now()

    def arrange():
        done = owned_by(user, model, "", status="completed", finished_at=timezone.now())
        hidden = owned_by(user, model, "")
        Conversation.objects.filter(pk=hidden.message.conversation_id).update(is_hidden=True)
        owned_by(other_user, model, "")
        return done

    done = await sync_to_async(arrange)()
    found = await sync_to_async(changes_since)({user.pk}, since)
    assert [(notice.what, notice.conversation) for notice in found] == [
        ("started", str(done.message.conversation_id)),
        ("finished", str(done.message.conversation_id)),
    ]
    assert await sync_to_async(changes_since)({user.pk}, timezone.now()) == []
    assert await Generation.objects.acount() == 3


def test_a_stop_notice_is_told_from_a_change():
    assert Notice(user_id=1, what=STOP_REQUESTED, generation=1).is_stop
    assert not Notice(user_id=1, what="started", generation=1).is_stop
