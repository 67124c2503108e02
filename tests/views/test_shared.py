"""Shared links: what the public page shows, to whom, and until when."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from chat.models import Attachment, Erasure, Generation, Message, SharedLink
from tests.review.conftest import converse, finish
from tests.support.attachments import attach

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk(user, model):
    user.first_name, user.last_name = "Ada", "Lovelace"
    user.save()
    return converse(user, model, "why <script>alert(1)</script>?", "because", title="Heaps & <b>")


def made(client, talk, **fields):
    assert client.post(reverse("share", args=[talk.pk]), {"days": "7"} | fields).status_code == 302
    return SharedLink.objects.first()


def page_of(client, link):
    return client.get(reverse("shared", args=[link.token]))


def test_a_stranger_reads_what_was_shown_then_and_no_name(user, model, talk, client_of, client):
    link = made(client_of(user), talk)
    answer = talk.leaf
    other = talk.messages.create(role="assistant", parent=answer.parent, text="another version")
    talk.messages.create(role=Message.Role.USER, parent=answer, text="later words")
    # The answer is continued after the link was made.
    finish(answer, user, model, prefix="because", created_at=timezone.now() + timedelta(seconds=1))
    Message.objects.filter(pk=answer.pk).update(
        text="because of more", html="<p>because of more</p>", thinking="hm"
    )
    response = page_of(client, link)
    page = response.content.decode()
    assert "why &lt;script&gt;alert(1)&lt;/script&gt;?" in page
    assert "because" in page
    for absent in ("of more", "hm</", "another version", "later words", "Lovelace", "ada", "<script"):
        assert absent not in page, absent
    assert response["Cache-Control"] == "no-store"
    assert "noindex" in response["X-Robots-Tag"]
    assert response["Referrer-Policy"] == "no-referrer"
    assert 'content="noindex' in page
    assert "http" not in page
    assert other.pk


def test_the_name_is_shown_if_it_was_chosen(user, talk, client_of, client):
    assert b"Shared by Ada Lovelace" in page_of(client, made(client_of(user), talk, with_name="1")).content


def test_a_link_ends(user, talk, client_of, client, settings):
    link = made(client_of(user), talk)
    assert timedelta(days=6) < link.expires_at - timezone.now() < timedelta(days=8)
    settings.SHARING_IS_ALLOWED = False
    assert page_of(client, link).status_code == 404
    assert client_of(user).post(reverse("share", args=[talk.pk]), {"days": "7"}).status_code == 422
    settings.SHARING_IS_ALLOWED = True
    assert page_of(client, link).status_code == 200
    SharedLink.objects.update(expires_at=timezone.now())
    assert page_of(client, link).status_code == 404
    SharedLink.objects.update(expires_at=None)
    talk.delete_softly()
    assert page_of(client, link).status_code == 404
    talk.restore()
    assert page_of(client, link).status_code == 200
    assert client_of(user).post(reverse("revoke_link", args=[link.pk])).status_code == 302
    gone = page_of(client, link)
    assert (gone.status_code, gone["Cache-Control"]) == (404, "no-store")
    again = made(client_of(user), talk, days="")
    assert again.expires_at is None
    Erasure.objects.request_users([user.pk])
    assert page_of(client, again).status_code == 404


def test_only_the_owner_shares_lists_and_revokes(user, other_user, staff, talk, client_of):
    link = made(client_of(user), talk)
    assert link.token in client_of(user).get(reverse("shared_links")).content.decode()
    for client in (client_of(other_user), client_of(staff)):
        assert client.get(reverse("share", args=[talk.pk])).status_code == 404
        assert client.post(reverse("revoke_link", args=[link.pk])).status_code == 404
        assert link.token not in client.get(reverse("shared_links")).content.decode()
    assert SharedLink.objects.count() == 1


def test_a_running_answer_is_not_shared(user, talk, client_of):
    Generation.objects.update(finished_at=None, status="running")
    response = client_of(user).post(reverse("share", args=[talk.pk]), {"days": "7"})
    assert response.status_code == 422
    assert b"Wait until the answer is complete" in response.content


@pytest.fixture
def with_file(user, talk):
    """Return the file of the question."""
    question = talk.leaf.parent
    file = attach(user, "a plan.txt", kind="text", text="plan", data=b"the plan")
    Attachment.attach(question, [file])
    Message.objects.filter(pk=question.pk).update(attachment_tokens=file.tokens)
    return file


def file_of(client, link, file):
    return client.get(reverse("shared_file", args=[link.token, file.pk]))


def test_files_are_shown_only_if_ticked(user, talk, with_file, client_of, client):
    link = made(client_of(user), talk)
    assert "a plan.txt" not in page_of(client, link).content.decode()
    assert file_of(client, link, with_file).status_code == 404
    ticked = made(client_of(user), talk, with_files="1")
    address = reverse("shared_file", args=[ticked.token, with_file.pk])
    assert address in page_of(client, ticked).content.decode()
    response = file_of(client, ticked, with_file)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Disposition"].startswith("attachment")
    assert file_of(client, ticked, attach(user, data=b"of no message")).status_code == 404
    ticked.delete()
    assert file_of(client, ticked, with_file).status_code == 404


def test_a_file_of_a_later_message_is_not_shown(user, talk, with_file, client_of, client):
    link = made(client_of(user), talk, with_files="1")
    later = attach(user, data=b"later")
    question = talk.messages.create(role="user", parent=talk.leaf, text="and this?", attachment_tokens=9)
    Attachment.attach(question, [later])
    assert file_of(client, link, later).status_code == 404
    talk.delete_softly()
    assert file_of(client, link, with_file).status_code == 404
