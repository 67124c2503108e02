"""Users download what belongs to them, and have it erased, subject to holds."""

import io
import json
import random
import zipfile

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse

from chat.event_log.writer import InlineWriter
from chat.models import Batch, BatchLine, Conversation, LargeRequest, LegalHold, Mark, StoredFile
from chat.review import own_data
from chat.runtime import cleanup
from tests.batches.support import stored
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


def with_batch(folder, user, model, text="one of my rows"):
    """Store a batch with an answered row, and a file of a program."""
    batch = stored(folder, user, model, f"id,text\n7,{text}\n8,another\n", template="Sum up: {{text}}")
    answer = converse(user, model, "a row", "my result", is_hidden=True).leaf
    batch.lines.filter(number=1).update(generation=answer.generations.get(), state="completed")
    file = StoredFile.objects.create(user=user, name="in.jsonl", purpose="batch", is_complete=True)
    StoredFile.add_slice(file.pk, 0, b"my upload")
    return batch


def test_the_zip_has_batches_with_their_rows_and_files(tmp_path, user, other_user, model, client_of):
    with_batch(tmp_path, user, model)
    with_batch(tmp_path, other_user, model, "a row of another")
    archive = downloaded(client_of(user))
    assert archive.read("files/00001-in.jsonl") == b"my upload"
    [settings] = [name for name in archive.namelist() if name.endswith("/batch.json")]
    assert json.loads(archive.read(settings))["template"] == "Sum up: {{text}}"
    rows = [
        json.loads(row) for row in archive.read(settings.replace("batch.json", "rows.jsonl")).splitlines()
    ]
    assert [row["cells"] for row in rows] == [
        {"id": "7", "text": "one of my rows"},
        {"id": "8", "text": "another"},
    ]
    assert (rows[0]["prompt"], rows[0]["answer"]) == ("Sum up: one of my rows", "my result")
    assert (rows[1]["state"], rows[1]["answer"]) == ("waiting", None)


@pytest.mark.parametrize("is_held", [False, True])
def test_batches_and_files_are_erased_once_they_have_ended(
    tmp_path, user, other_user, model, client_of, is_held
):
    running = with_batch(tmp_path, user, model)
    running.start()
    with_batch(tmp_path, user, model)
    kept = with_batch(tmp_path, other_user, model)
    if is_held:
        LegalHold.objects.create(user=user, reason="court", author_name="x")
    client = client_of(user)
    client.post(reverse("own_data"), {"what": "conversations", "username": "ada"})
    assert client.get(reverse("batch", args=[running.pk])).status_code == 404
    running.refresh_from_db()
    assert running.status == "cancelling"
    clean_up()
    assert Batch.objects.filter(pk=running.pk).exists()  # its process is still at it
    running.finish("cancelled")
    clean_up()
    left = {kept.pk, *Batch.objects.filter(user=user).values_list("pk", flat=True)} if is_held else {kept.pk}
    assert set(Batch.objects.values_list("pk", flat=True)) == left
    assert len(left) == (3 if is_held else 1)
    assert BatchLine.objects.filter(batch__user=user).exists() == is_held
    assert StoredFile.objects.filter(user=user).exists() == is_held


def clean_up():
    async_to_sync(cleanup.Cleanup().run)(InlineWriter())


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
