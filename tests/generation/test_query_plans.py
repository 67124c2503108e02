"""No query of a tick, a question, an answer or a page reads more of the history than it returns."""

from datetime import timedelta
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat import events
from chat.models import ApiKey, Attempt, Conversation, Generation, LoggedEvent, Message, Model, Process
from chat.models.api_request import ApiRequest
from chat.models.session import SessionCheck
from chat.notifications import changes_since
from chat.runtime import cleanup
from tests.support.query_plans import Recorder
from tests.support.runtime import owned_by

pytestmark = pytest.mark.django_db

# Enough for the planner of PostgreSQL to prefer an index where it has one.
EXCHANGES = 2_000


@pytest.fixture
def history(user, other_user):
    """Store conversations of two users, half of them hidden, each with one exchange."""
    now = timezone.now()
    conversations = Conversation.objects.bulk_create(
        Conversation(
            user=(user, other_user)[number % 2],
            title=f"Talk {number}",
            is_hidden=number % 4 > 1,
            updated_at=now - timedelta(minutes=number),
        )
        for number in range(EXCHANGES)
    )
    questions = Message.objects.bulk_create(
        Message(conversation=each, role="user", text="Why?") for each in conversations
    )
    answers = Message.objects.bulk_create(
        Message(conversation=each.conversation, role="assistant", text="So.", parent=each)
        for each in questions
    )
    generations = Generation.objects.bulk_create(
        Generation(
            message=each,
            user=each.conversation.user,
            client_id=f"old-{number}",
            status="completed",
            created_at=now - timedelta(days=1),
            finished_at=now,
            has_log=number % 10 == 0,
        )
        for number, each in enumerate(answers)
    )
    Attempt.objects.bulk_create(
        Attempt(generation=each, number=1, outcome="completed") for each in generations
    )
    LoggedEvent.objects.bulk_create(
        LoggedEvent(generation_id=each.pk, seq=1, payload=events.encode(events.Delta("So.")).decode())
        for each in generations[::10]
    )
    for conversation, answer in zip(conversations, answers, strict=True):
        conversation.leaf = answer
    Conversation.objects.bulk_update(conversations, ["leaf"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "SELECT 1")
    return conversations


def ask_once(key, model):
    """Ask as a program does."""
    request = ApiRequest([{"role": "user", "content": "Hello"}])
    options = {"client_id": "once", "source": Generation.Source.API, "api_key": key}
    return Conversation.ask_once(key.user, request, model=model, **options)


def read_pages(client, user):
    """Open what a user opens."""
    conversation = Conversation.objects.of(user).visible().latest("updated_at")
    key = {"pk": conversation.pk}
    message = conversation.leaf_id
    addresses = [
        reverse("chat"),
        reverse("sidebar"),
        reverse("conversation", kwargs=key),
        f"{reverse('transcript', kwargs=key)}?limit=4",
        f"{reverse('older', kwargs=key)}?before={message}",
        reverse("configure", kwargs=key),
        reverse("rename", kwargs=key),
        reverse("message", args=[message]),
        reverse("details", args=[Generation.objects.get(message=message).pk]),
    ]
    for address in addresses:
        response = client.get(address, headers={"HX-Request": "true"})
        assert response.status_code == 200, address
    position = client.get(reverse("sidebar")).context["sidebar"].next_after
    assert position
    for name in ("after", "through"):
        assert client.get(reverse("sidebar"), {name: position}).status_code == 200


def read_elsewhere(user):
    """Do what processes do now and then."""
    changes_since({user.pk}, timezone.now() - timedelta(seconds=1))
    SessionCheck().valid({("a", user.pk)})
    for step in (
        cleanup.prune_logs,
        cleanup.delete_slices,
        cleanup.delete_text_slices,
        cleanup.erase_deleted,
        cleanup.erase_users,
        cleanup.delete_expired_sessions,
    ):
        step(50)


@pytest.fixture
def recorder(db):
    return Recorder()


async def test_no_query_of_the_hot_paths_scans_a_table_of_the_history(history, user, living, recorder):
    client = Client()
    await sync_to_async(client.force_login)(user)
    key, _secret = await sync_to_async(ApiKey.make)(user, "key")
    await sync_to_async(owned_by)(user, None, "other")
    await Process.objects.acreate(id="other", host="h", pid=1, counter=5)
    async with living() as life:
        model = await Model.objects.aget()
        with recorder.recording():
            first = await life.answer("Hello [[deltas=3]]")
            follow_up = await life.ask("And then?", conversation_id=first.message.conversation_id)
            await life.run(follow_up.generation_id)
            stopped = await life.ask("Stop")
            await life.stop(stopped.generation_id)
            await life.run((await life.writer.arun(partial(ask_once, key, model))).generation_id)
            await life.runtime.heartbeat.tick()
            await life.runtime.heartbeat.tick()
            await sync_to_async(read_pages)(client, user)
            await sync_to_async(read_elsewhere)(user)
    assert len(recorder.queries) > 60
    assert await sync_to_async(recorder.scans)() == []


async def test_a_scan_is_recognized(history):
    def scans():
        recorder = Recorder()
        with recorder.recording():
            list(Generation.objects.filter(error_code="none"))
            list(Conversation.objects.order_by("-title")[:1])
            list(Generation.objects.filter(status__in=["queued", "running"], owner="me"))
            Conversation.objects.filter(user=1).count()
        return recorder.scans()

    assert len(await sync_to_async(scans)()) == 4
