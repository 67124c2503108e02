"""Files of users over HTTP: upload, whose they are, and what a browser may do with them."""

import io
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.urls import reverse
from PIL import Image

from chat.event_log.writer import InlineWriter
from chat.models import Attachment, Conversation, LooseFile, Message, StoredContent
from chat.models.stored_content import storage
from chat.runtime.http_limits import body_max_bytes
from chat.views import attachments
from tests.support.attachments import attach, stored_files

pytestmark = pytest.mark.django_db


def png(color="red", size=(60, 40)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def _writer(monkeypatch):
    monkeypatch.setattr(attachments, "current_runtime", lambda: SimpleNamespace(writer=InlineWriter()))


def upload(client, data, name="picture.png", kind="image/png"):
    address = f"{reverse('upload_attachment')}?name={name}"
    return client.post(address, data, content_type=kind, headers={"HX-Request": "true"})


def body_of(response):
    return b"".join(response)


def test_a_picture_is_stored_and_shown(client, user):
    response = upload(client, png())
    assert response.status_code == 201
    answer = response.json()
    assert (answer["name"], answer["kind"], answer["width"], answer["height"]) == (
        "picture.png",
        "image",
        60,
        40,
    )
    assert "tokens" in answer["summary"]
    attachment = Attachment.objects.get()
    assert attachment.user == user
    shown = client.get(answer["url"])
    assert shown["Content-Type"] == "image/png"
    assert shown["Content-Disposition"].startswith("inline")
    assert shown["X-Content-Type-Options"] == "nosniff"
    assert shown["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert "private" in shown["Cache-Control"]
    assert Image.open(io.BytesIO(body_of(shown))).size == (60, 40)
    assert not LooseFile.objects.exists()
    again = client.get(answer["url"], headers={"If-None-Match": shown["ETag"]})
    assert again.status_code == 304


def test_a_document_is_only_downloaded(client):
    answer = upload(client, b"<script>alert(1)</script> words", "page.md", "text/markdown").json()
    assert answer["kind"] == "text"
    shown = client.get(answer["url"])
    assert shown["Content-Disposition"] == 'attachment; filename="page.md"'
    assert "sandbox" in shown["Content-Security-Policy"]
    assert Attachment.objects.get().tokens >= 1


def test_the_same_upload_again_is_the_same_attachment(client):
    first, second = upload(client, png()).json(), upload(client, png()).json()
    assert first == second
    assert upload(client, png(), "other.png").json()["id"] != first["id"]
    assert StoredContent.objects.count() == 1


def test_an_attachment_of_another_user_does_not_exist(client, client_of, other_user, user):
    other = attach(other_user)
    assert client.get(reverse("attachment", args=[other.pk])).status_code == 404
    assert client.get(reverse("attachment", args=[uuid4()])).status_code == 404
    other_user.is_staff = True
    other_user.save()
    own = attach(user)
    assert client_of(other_user).get(reverse("attachment", args=[own.pk])).status_code == 404


def test_a_file_that_is_refused_says_why_and_leaves_nothing(client, settings):
    response = upload(client, b"\x00\x01\x02" * 1000, "virus.exe", "application/octet-stream")
    assert response.status_code == 422
    assert response["Content-Type"].startswith("text/plain")
    assert len(response.content.decode()) > 20
    settings.ATTACHMENT_MAX_BYTES = 100
    response = upload(client, png(size=(900, 900)))
    assert response.status_code == 422
    assert "larger" in response.content.decode() or "large" in response.content.decode()
    assert not Attachment.objects.exists()
    assert not list((settings.DATA_DIR / "incoming").iterdir())


def test_the_quota_is_of_one_user_and_says_what_to_do(client, user, other_user, settings):
    attach(other_user, size_bytes=5_000, data=b"other")
    settings.ATTACHMENT_QUOTA_BYTES = 5_000
    attach(user, size_bytes=4_990, data=b"mine")
    response = upload(client, png("blue"))
    assert response.status_code == 422
    assert "Delete conversations" in response.content.decode()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("C%3A%5Csecret%5Cplan.txt", "plan.txt"),
        ("gnp.%E2%80%AEtxt.exe", "gnp. txt.exe"),
        ("%00%0D%0AX-Evil%3A%201.txt", "X-Evil: 1.txt"),
        ("", "file"),
        ("a" * 400, "a" * 200),
    ],
)
def test_names_with_tricks_are_only_names(client, name, shown):
    answer = upload(client, b"some words", name, "text/plain").json()
    assert answer["name"] == shown
    response = client.get(answer["url"])
    assert response.status_code == 200
    assert "X-Evil" not in response


def test_a_question_with_a_picture_is_shown_with_it(client, user, seeing_model):
    answer = upload(client, png(), "cat&dog.png".replace("&", "%26")).json()
    started = Conversation.ask(
        user, "What is it?", client_id="one", attachments=[Attachment.objects.get().pk]
    )
    page = client.get(reverse("conversation", args=[started.conversation_id])).content.decode()
    assert f'src="{answer["url"]}"' in page
    assert 'alt="cat&amp;dog.png"' in page


def test_a_form_without_script_keeps_the_files_of_an_edited_message(client, user, seeing_model):
    picture = attach(user)
    started = Conversation.ask(user, "What is it?", client_id="one", attachments=[picture.pk])
    page = client.get(reverse("edit", args=[started.user_message_id])).content.decode()
    assert f'name="attachment" value="{picture.pk}"' in page
    assert "With these files: picture.png" in page


def test_only_uploads_may_be_large(settings):
    assert body_max_bytes("/attachments/") == settings.ATTACHMENT_MAX_BYTES
    assert body_max_bytes(f"/attachments/{uuid4()}/") < 100_000


def test_nobody_uploads_without_signing_in(client, client_of):
    from django.test import Client

    assert upload(Client(), png()).status_code == 401
    assert not Attachment.objects.exists()
    assert not stored_files() or storage()


def test_erased_conversations_take_their_files_along(client, user, seeing_model):
    upload(client, png("green")).json()
    started = Conversation.ask(
        user, "What is it?", client_id="one", attachments=[Attachment.objects.get().pk]
    )
    path = Attachment.objects.get().content.path
    assert path in stored_files()
    Message.objects.filter(conversation=started.conversation_id).delete()
    Attachment.delete_unused(10)
    assert LooseFile.objects.get().path == path
