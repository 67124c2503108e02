"""Redaction of attachments: with its words, the file itself is gone."""

import pytest
from django.urls import reverse

from chat.models import Attachment, LooseFile, StoredContent
from chat.models.redaction import GAP
from chat.review.redaction import redact_message, redact_phrase
from tests.review.conftest import converse, finish, staff_with
from tests.support.attachments import attach, stored_files

pytestmark = pytest.mark.django_db


@pytest.fixture
def redactor(db):
    return staff_with("ruth", "view_conversation", "redact_conversation")


def test_the_file_of_an_attachment_goes_with_its_words(user, model, redactor, client_of):
    conversation = converse(user, model, "what is the code?", "I see it.")
    file = attach(user, "code 4711.txt", kind="text", text="it is Zanzibar 4711", notes=["4711"])
    Attachment.attach(conversation.leaf.parent, [file])
    redact_phrase(conversation, "4711", redactor, "a door code")
    file.refresh_from_db()
    assert (file.name, file.text) == (f"code {GAP}.txt", f"it is Zanzibar {GAP}")
    assert (file.content, file.size_bytes, file.upload_sha256) == (None, 0, "")
    assert not StoredContent.objects.exists()
    assert client_of(user).get(reverse("attachment", args=[file.pk])).status_code == 404
    [path] = LooseFile.take_due(10).values()
    assert path in stored_files()


def test_a_picture_goes_with_its_message(user, model, redactor):
    conversation = converse(user, model, "what is on it?", "A secret.")
    Attachment.attach(conversation.leaf.parent, [attach(user)])
    redact_message(conversation, conversation.leaf.parent_id, redactor, "a picture of a person")
    picture = Attachment.objects.get()
    assert (picture.name, picture.content) == (GAP, None)


def test_running_generations_of_other_conversations_do_not_matter(user, model, redactor, other_user):
    own = converse(user, model, "the code is 4711", "I see.")
    theirs = converse(other_user, model, "hello", "hi")
    finish(theirs.leaf, other_user, model, status="running", finished_at=None)
    assert redact_phrase(own, "4711", redactor, "reason").places
