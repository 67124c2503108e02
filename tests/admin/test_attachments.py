"""Files in the transcript of the admin: for staff who may read conversations, and recorded."""

import pytest
from django.urls import reverse

from chat.models import AccessRecord, Attachment
from tests.review.conftest import converse, staff_with
from tests.support.attachments import attach

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(user, model):
    found = converse(user, model, "what is on it?", "A cat.")
    question = found.leaf.parent
    file = attach(user, "mail to ada@example.org.png")
    Attachment.attach(question, [file])
    question.attachment_tokens = file.tokens
    question.save()
    return found


def address(conversation):
    return reverse("admin:chat_conversation_attachment", args=[conversation.pk, Attachment.objects.get().pk])


def test_a_reviewer_opens_a_file_and_that_is_recorded(conversation, client_of):
    desk = client_of(staff_with("ruth", "view_conversation"))
    page = desk.get(reverse("admin:chat_conversation_change", args=[conversation.pk])).content.decode()
    assert address(conversation) in page
    response = desk.get(address(conversation))
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert response["Content-Security-Policy"].startswith("sandbox")
    record = AccessRecord.objects.filter(action="open").order_by("-pk").first()
    assert record.details == {"attachment": str(Attachment.objects.get().pk)}


def test_staff_without_the_permission_open_none(conversation, client_of):
    for permissions in ((), ("view_generation",)):
        desk = client_of(staff_with(f"sam{len(permissions)}", *permissions))
        assert desk.get(address(conversation)).status_code in {403, 404}
    assert not AccessRecord.objects.filter(action="open").exists()


def test_a_file_of_another_conversation_is_not_found(conversation, user, other_user, model, client_of):
    other = converse(other_user, model, "mine?", "Yes.")
    desk = client_of(staff_with("ruth", "view_conversation"))
    wrong = reverse("admin:chat_conversation_attachment", args=[other.pk, Attachment.objects.get().pk])
    assert desk.get(wrong).status_code == 404


def test_who_sees_masked_text_opens_no_files(conversation, client_of, settings):
    settings.MASK_PERSONAL_DATA = True
    desk = client_of(staff_with("ruth", "view_conversation"))
    page = desk.get(reverse("admin:chat_conversation_change", args=[conversation.pk])).content.decode()
    assert "ada@example.org" not in page
    assert address(conversation) not in page
    assert desk.get(address(conversation)).status_code == 403
