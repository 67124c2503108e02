"""Users download what belongs to them, and have it erased, subject to holds."""

import io
import json
import random
import zipfile

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse

from chat.event_log.writer import InlineWriter
from chat.models import Conversation, LargeRequest, LegalHold, Mark
from chat.review import own_data
from chat.runtime import cleanup
from tests.review.conftest import converse, streamed

pytestmark = pytest.mark.django_db


def downloaded(client):
    response = client.post(reverse("own_data_download"))
    return zipfile.ZipFile(io.BytesIO(streamed(response)))


def test_the_zip_has_all_of_ones_own_and_nothing_of_others(user, other_user, model, client_of, reviewer):
    mine = converse(user, model, "my question", "my answer", title="../../Übung: <b>")
    converse(user, model, "of a program", "its answer", is_hidden=True)
    converse(other_user, model, "their question", "their answer")
    Mark.objects.create(kind="note", conversation=mine, author=reviewer, author_name="vera", text="a note")
    archive = downloaded(client_of(user))
    names = archive.namelist()
    assert len(names) == 7
    assert not [name for name in names if ".." in name or name.startswith("/")]
    everything = "".join(archive.read(name).decode() for name in names)
    assert all(text in everything for text in ("my question", "my answer", "of a program", "ada@example.org"))
    assert "their question" not in everything
    assert "a note" not in everything
    first = json.loads(archive.read(next(name for name in names if "bung" in name and name.endswith("json"))))
    assert [each["text"] for each in first["messages"]] == ["my question", "my answer"]


def test_the_zip_is_made_while_it_is_sent(user, model):
    for number in range(3):
        converse(user, model, f"question {number}", "answer")
    parts = own_data.zip_of(user)
    sent = [next(parts)]
    Conversation.objects.order_by("created_at").last().delete()
    sent += list(parts)
    archive = zipfile.ZipFile(io.BytesIO(b"".join(sent)))
    assert archive.testzip() is None
    assert len(archive.namelist()) == 1 + 2 * 3


def test_large_requests_are_in_the_zip_slice_by_slice(user, model):
    conversation = converse(user, model, is_hidden=True)
    owner = LargeRequest.objects.create(generation=conversation.leaf.generations.get())
    # Random, so that it cannot be compressed.
    data = json.dumps({"role": "user", "content": random.Random(1).randbytes(300_000).hex()}).encode()
    size = len(data) // 6 + 1
    for number in range(6):
        owner.slices.create(number=number, data=data[number * size : (number + 1) * size])
    parts = list(own_data.zip_of(user))
    assert max(map(len, parts)) < 2 * size
    archive = zipfile.ZipFile(io.BytesIO(b"".join(parts)))
    [name] = [name for name in archive.namelist() if "-request-" in name]
    assert json.loads(archive.read(name)) == [json.loads(data)]


def test_conversations_are_erased_after_the_username_is_typed(user, model, client_of):
    converse(user, model)
    converse(user, model, is_hidden=True)
    client = client_of(user)
    refused = client.post(reverse("own_data"), {"what": "conversations", "username": "bob"})
    assert refused.status_code == 422
    assert Conversation.objects.filter(deleted_at=None).count() == 2
    client.post(reverse("own_data"), {"what": "conversations", "username": "ada"})
    async_to_sync(cleanup.Cleanup().run)(InlineWriter())
    assert not Conversation.objects.exists()
    assert type(user).objects.filter(pk=user.pk).exists()


def test_an_account_is_erased_with_all_conversations(user, model, client_of):
    converse(user, model)
    client = client_of(user)
    client.post(reverse("own_data"), {"what": "account", "username": "ada"})
    assert client.get(reverse("own_data")).status_code == 302
    async_to_sync(cleanup.Cleanup().run)(InlineWriter())
    assert not type(user).objects.filter(pk=user.pk).exists()


def test_a_hold_keeps_what_it_is_on_and_the_page_says_so(user, model, client_of):
    held = converse(user, model)
    converse(user, model)
    LegalHold.objects.create(conversation=held, reason="court", author_name="x")
    page = client_of(user).post(
        reverse("own_data"), {"what": "conversations", "username": "ada"}, follow=True
    )
    assert "kept for legal reasons" in page.content.decode()
    async_to_sync(cleanup.Cleanup().run)(InlineWriter())
    assert list(Conversation.objects.all()) == [held]


def test_an_owner_is_not_erased_by_themselves(staff, client_of):
    response = client_of(staff).post(reverse("own_data"), {"what": "account", "username": "grace"})
    assert response.status_code == 422
    assert not own_data.Erasure.objects.exists()


def test_both_pages_need_a_signed_in_user(client):
    for name in ("own_data", "own_data_download"):
        assert client.post(reverse(name)).status_code == 302
