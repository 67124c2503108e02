"""Attachments: whose they are, when they go, and that each file has a row and each row its file."""

from datetime import timedelta
from io import BytesIO
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from chat.errors import RequestRefused
from chat.models import Attachment, Conversation, LooseFile, Message, MessageAttachment, StoredContent
from chat.models.attachment import PER_MESSAGE_MAX, UNUSED_KEPT
from chat.models.stored_content import LONG_AGO, LOOSE_KEPT, NewContent, storage
from tests.support.attachments import attach, stored_files

pytestmark = pytest.mark.django_db


def ask(user, text="What is this?", **more):
    return Conversation.ask(user, text, client_id=uuid4().hex, **more)


def test_the_same_content_is_one_file(user, other_user):
    first, second = attach(user, data=b"the same"), attach(other_user, data=b"the same")
    assert first.content == second.content
    assert storage().exists(first.content.path)
    # The second copy waits to be deleted.
    assert LooseFile.objects.get().since == LONG_AGO


def test_a_content_goes_with_the_last_attachment_that_needs_it(user, other_user):
    first, second = attach(user, data=b"shared"), attach(other_user, data=b"shared")
    LooseFile.objects.all().delete()
    first.delete()
    assert StoredContent.objects.count() == 1
    second.delete()
    assert not StoredContent.objects.exists()
    assert LooseFile.objects.get().path == second.content.path


def test_a_file_that_cleanup_has_taken_is_not_adopted():
    new = NewContent.of(BytesIO(b"late"))
    LooseFile.objects.create(path=new.path, since=timezone.now() - LOOSE_KEPT - timedelta(seconds=1))
    assert list(LooseFile.take_due(10).values()) == [new.path]
    with pytest.raises(LookupError), transaction.atomic():
        StoredContent.adopt(new)
    assert not StoredContent.objects.exists()


def test_a_file_that_is_being_written_is_left_alone():
    new = NewContent.of(BytesIO(b"now"))
    LooseFile.objects.create(path=new.path)
    assert LooseFile.take_due(10) == {}
    assert StoredContent.adopt(new).path == new.path


def test_a_message_keeps_its_attachments_in_their_order(user, seeing_model):
    files = [attach(user, data=bytes([n])) for n in range(3)]
    started = ask(user, attachments=[files[2].pk, files[0].pk, files[2].pk])
    message = Message.objects.get(pk=started.user_message_id)
    assert Attachment.by_message([message])[message.pk] == [files[2], files[0]]
    assert message.attachment_tokens == files[0].tokens + files[2].tokens


def test_messages_without_attachments_need_no_query(user, model, django_assert_num_queries):
    started = ask(user)
    message = Message.objects.get(pk=started.user_message_id)
    with django_assert_num_queries(0):
        assert Attachment.by_message([message]) == {}
        assert message.says("What is this?", [])


def test_a_message_may_be_only_a_picture(user, seeing_model):
    picture = attach(user, name="chart.png")
    started = ask(user, "", attachments=[picture.pk])
    assert Conversation.objects.get(pk=started.conversation_id).title == "chart.png"
    with pytest.raises(RequestRefused) as refused:
        ask(user, "")
    assert refused.value.code == "empty"


def test_sending_again_is_harmless_and_other_files_are_a_conflict(user, seeing_model):
    first, second = attach(user, data=b"1"), attach(user, data=b"2")
    started = Conversation.ask(user, "look", client_id="same", attachments=[first.pk])
    again = Conversation.ask(user, "look", client_id="same", attachments=[first.pk])
    assert again.is_repeat
    assert again.message_id == started.message_id
    for other in ([second.pk], [], [first.pk, second.pk]):
        with pytest.raises(RequestRefused) as refused:
            Conversation.ask(user, "look", client_id="same", attachments=other)
        assert refused.value.code == "conflict"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda user, other: [uuid4()], "attachment_gone"),
        (lambda user, other: [attach(other).pk], "attachment_gone"),
        (lambda user, other: [uuid4() for _ in range(PER_MESSAGE_MAX + 1)], "too_many_attachments"),
    ],
)
def test_what_cannot_be_attached_is_refused(user, other_user, seeing_model, make, code):
    with pytest.raises(RequestRefused) as refused:
        ask(user, attachments=make(user, other_user))
    assert refused.value.code == code
    assert not Message.objects.exists()


def test_a_picture_for_a_model_that_does_not_see_is_refused_in_words(user, model):
    with pytest.raises(RequestRefused) as refused:
        ask(user, attachments=[attach(user, name="cat.png").pk])
    assert refused.value.code == "cannot_see"
    assert "cat.png" in refused.value.message
    with pytest.raises(RequestRefused) as refused:
        ask(user, attachments=[attach(user, name="scan.pdf", kind="text", data=b"scan").pk])
    assert refused.value.code == "cannot_see"
    document = attach(user, kind="text", data=b"words", text="words")
    assert ask(user, attachments=[document.pk]).message_id


def test_an_unused_attachment_goes_after_a_day_and_a_used_one_with_its_last_message(user, seeing_model):
    fresh, used = attach(user, data=b"fresh"), attach(user, data=b"used")
    attach(user, data=b"old", unused_since=timezone.now() - UNUSED_KEPT - timedelta(minutes=1))
    first = ask(user, attachments=[used.pk])
    second = ask(user, attachments=[used.pk])
    Attachment.delete_unused(100)
    assert set(Attachment.objects.all()) == {fresh, used}
    Conversation.objects.get(pk=first.conversation_id).delete()
    Attachment.delete_unused(100)
    assert set(Attachment.objects.all()) == {fresh, used}
    Conversation.objects.get(pk=second.conversation_id).delete()
    Attachment.delete_unused(100)
    assert set(Attachment.objects.all()) == {fresh}
    assert not MessageAttachment.objects.exists()
    assert stored_files() >= {fresh.content.path}


def test_an_attachment_of_a_deleted_conversation_is_hidden(user, seeing_model):
    picture = attach(user)
    started = ask(user, attachments=[picture.pk])
    conversation = Conversation.objects.get(pk=started.conversation_id)
    conversation.delete_softly()
    assert not Attachment.objects.of(user).exists()
    conversation.restore()
    assert Attachment.objects.of(user).get() == picture
