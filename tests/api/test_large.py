"""Large requests: stored in slices, sent on unchanged, and without a trace when they are refused."""

import asyncio
import json
import shutil
import sys
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncRequestFactory
from django.utils import timezone

from chat.api import bodies
from chat.api.errors import ApiError
from chat.models import Conversation, Generation, LargeRequest, RequestSlice
from chat.models.api_request import ApiRequest
from chat.models.large_request import ORPHANS_KEPT, SLICE_BYTES, LargeMessages, StoredMessages
from chat.runtime import cleanup
from tests.api.test_native import ask

TEXT = "An é, a \U0001f600 and [brackets], {again}; " * 20_000
SLICES = """
from chat.models import Generation, RequestSlice
print([len(data) for data in RequestSlice.objects.order_by('number').values_list('data', flat=True)])
"""
ROW = "from chat.models import Generation; import json; print(json.dumps(Generation.objects.get().request))"


def post(value):
    return AsyncRequestFactory().post(
        "/v1/chat/completions", json.dumps(value).encode(), content_type="application/json"
    )


def large(text=TEXT, **more):
    return {"model": "fake", "messages": [{"role": "user", "content": text}], **more}


def add(large_request_id, *slices):
    for number, data in enumerate(slices):
        LargeRequest.add_slice(large_request_id, number, data)


@pytest.fixture
def stored(user, model):
    """Return a function that stores a generation whose messages are in two slices."""

    def store():
        messages = StoredMessages(uuid4(), "hello")
        add(messages.large_request_id, b'{"role":"user",', b'"content":"hello"}')
        request = ApiRequest([], large=LargeMessages("0", 1, 5))
        return Conversation.ask_once(
            user, request, model=model, client_id="one", source="api", messages=messages
        ).generation_id

    return store


def test_a_large_request_reaches_the_model_unchanged_and_is_stored_in_slices(api):
    api = api()
    status, _headers, reply = ask(api, TEXT + "[[deltas=3]]")
    assert (status, reply["object"]) == (200, "chat.completion")
    sent = len(json.dumps(TEXT + "[[deltas=3]]", ensure_ascii=False).encode())
    assert reply["usage"]["prompt_tokens"] > 10_000
    sizes = json.loads(api.server.query(SLICES))
    assert all(size == SLICE_BYTES for size in sizes[:-1])
    assert 0 < sum(sizes) - sent < 100
    row = json.loads(api.server.query(ROW))
    assert row["messages"] == []
    assert row["large"]["message_count"] == 1


def test_a_large_request_can_be_repeated_and_a_refused_one_leaves_nothing(api):
    api = api()
    first = ask(api, TEXT + "[[deltas=3]]", Idempotency_Key="once")
    sizes = api.server.query(SLICES)
    assert ask(api, TEXT + "[[deltas=3]]", Idempotency_Key="once")[2]["id"] == first[2]["id"]
    assert ask(api, TEXT + "[[deltas=4]]", Idempotency_Key="once")[2]["error"]["code"] == "conflict"
    assert ask(api, TEXT, model="nobody")[2]["error"]["code"] == "model_not_found"
    assert ask(api, TEXT, temperature=9)[2]["error"]["param"] == "temperature"
    assert api.server.query(SLICES) == sizes
    assert len(api.requests()) == 1


def test_a_large_answer_is_recovered_with_all_messages(api):
    api = api()
    question = TEXT + "[[cut after=5 times=1]] [[text=The same words again and again.]]"
    status, _headers, reply = ask(api, question)
    assert (status, reply["choices"][0]["message"]["content"]) == (200, "The same words again and again.")
    assert len(api.requests()) == 2


@pytest.mark.django_db
async def test_no_write_of_a_large_request_holds_more_than_a_slice(monkeypatch):
    sizes = []
    add_slice = LargeRequest.add_slice

    def noted(pk, number, data):
        sizes.append(len(data))
        add_slice(pk, number, data)

    monkeypatch.setattr(LargeRequest, "add_slice", noted)
    received = await bodies.receive(post(large()))
    assert received.messages == []
    assert len(sizes) > 2
    assert max(sizes) <= SLICE_BYTES
    assert len(received.stored.text) < len(TEXT)


@pytest.mark.django_db
async def test_what_would_be_many_objects_goes_to_the_child_however_small_it_is():
    values = [0] * bodies.SMALL_MAX_VALUES
    messages = [{"role": "user", "content": "hello", "x": values}]
    received = await bodies.receive(post({"model": "fake", "messages": messages}))
    assert (received.messages, received.large.message_count) == ([], 1)


@pytest.mark.django_db
async def test_a_small_request_is_stored_in_one_row():
    received = await bodies.receive(post(large("hello")))
    assert received.messages == [{"role": "user", "content": "hello"}]
    assert (received.large, received.stored) == (None, None)
    assert not await RequestSlice.objects.aexists()


@pytest.mark.django_db
async def test_a_parser_that_dies_leaves_nothing(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    for _attempt in range(3):  # more often than there are parsers
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await bodies.receive(post(large()))
    assert not await RequestSlice.objects.aexists()


@pytest.mark.django_db
async def test_a_body_above_the_limit_is_refused_before_anything_is_stored(settings):
    settings.API_BODY_MAX_BYTES = 500_000
    with pytest.raises(ApiError) as caught:
        await bodies.receive(post(large()))
    assert caught.value.status == 413
    assert not await RequestSlice.objects.aexists()


def test_a_slice_has_a_limit():
    with pytest.raises(ValueError, match=str(SLICE_BYTES)):
        LargeRequest.add_slice(uuid4(), 0, b"x" * (SLICE_BYTES + 1))


@pytest.mark.django_db
def test_slices_belong_to_their_generation_and_are_deleted_with_it(stored):
    generation_id = stored()
    assert b"".join(LargeRequest.messages_of(generation_id)) == b'{"role":"user","content":"hello"}'
    Generation.objects.get().delete()
    assert not RequestSlice.objects.exists()


@pytest.mark.django_db
async def test_the_messages_of_a_stored_generation_are_not_discarded(stored):
    await sync_to_async(stored)()
    owner = await LargeRequest.objects.aget()
    await bodies.discard(StoredMessages(owner.pk, ""))
    assert await RequestSlice.objects.acount() == 2


@pytest.mark.django_db
def test_cleanup_deletes_slices_without_a_generation_after_a_day():
    add(uuid4(), b"1", b"2", b"3")
    assert cleanup.delete_slices(50) == 0
    assert RequestSlice.objects.count() == 3
    LargeRequest.objects.update(created_at=timezone.now() - ORPHANS_KEPT - timedelta(minutes=1))
    while cleanup.delete_slices(50):
        pass
    assert not LargeRequest.objects.exists()
    assert not RequestSlice.objects.exists()


@pytest.mark.django_db
def test_cleanup_deletes_slices_of_conversations_that_were_deleted_over_a_day_ago(stored):
    stored()
    Conversation.objects.update(deleted_at=timezone.now())
    assert cleanup.delete_slices(500) == 0
    assert RequestSlice.objects.count() == 2
    Conversation.objects.update(deleted_at=timezone.now() - cleanup.DELETED_KEPT)
    while cleanup.delete_slices(50):
        pass
    assert not RequestSlice.objects.exists()
    assert Generation.objects.exists()
