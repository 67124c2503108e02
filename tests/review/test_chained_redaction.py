"""A redaction reaches the copies of a text in responses that continue a response, and open pages."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chat.api.responses.ids import response_id
from chat.errors import RequestRefused
from chat.models import Generation, Redaction
from chat.models.redaction import GAP
from chat.notifications import changes_since
from chat.review.redaction import redact_message, redact_phrase
from tests.review.conftest import converse, staff_with

pytestmark = pytest.mark.django_db
SECRET = "Zanzibar 4711"


@pytest.fixture
def redactor(db):
    return staff_with("ruth", "view_conversation", "redact_conversation")


@pytest.fixture
def chain(user, model):
    """Return a response with the secret, one that continues it, one that continues that, and a stranger."""

    def respond(*texts, previous=None):
        conversation = converse(user, model, *texts[-2:], is_hidden=True)
        response = {"own_messages": 1} | ({"previous": previous} if previous else {})
        request = {"messages": [{"role": "user", "content": text} for text in texts], "response": response}
        conversation.leaf.generations.update(source=Generation.Source.API, request=request)
        return conversation

    def id_of(conversation):
        return response_id(conversation.leaf.generations.get().pk)

    first = respond(f"I am {SECRET}", f"Hello {SECRET}")
    second = respond(f"I am {SECRET}", f"Hello {SECRET}", "Who?", "You.", previous=id_of(first))
    third = respond(f"I am {SECRET}", f"Hello {SECRET}", "Sure?", "Yes.", previous=id_of(second))
    stranger = respond(f"I am {SECRET}", f"Hello {SECRET}")
    return first, second, third, stranger


def sent(conversation):
    return str(conversation.leaf.generations.get().request["messages"])


def test_a_phrase_is_removed_from_every_response_of_the_chain(chain, redactor):
    first, second, third, stranger = chain
    done = redact_phrase(first, SECRET, redactor, "asked for")
    assert done.conversation == first
    for conversation in (first, second, third):
        assert SECRET not in sent(conversation)
        assert GAP in sent(conversation)
        assert Redaction.objects.filter(conversation=conversation, reason="asked for").count() == 1
    assert SECRET in sent(stranger)
    assert not Redaction.objects.filter(conversation=stranger).exists()


def test_a_whole_message_is_removed_from_the_chain_and_others_stay(chain, redactor):
    first, second, third, _stranger = chain
    redact_message(first, first.leaf.parent_id, redactor, "asked for")
    for conversation in (second, third):
        assert f"I am {SECRET}" not in sent(conversation)
        assert f"Hello {SECRET}" in sent(conversation)


def test_nothing_changes_while_a_response_of_the_chain_is_being_written(chain, redactor):
    first, _second, third, _stranger = chain
    third.leaf.generations.update(status="running", finished_at=None)
    with pytest.raises(RequestRefused, match="busy"):
        redact_phrase(first, SECRET, redactor, "asked for")
    assert SECRET in sent(first)
    assert not Redaction.objects.exists()


def test_open_pages_of_other_processes_hear_of_a_redaction(conversation, user, redactor):
    before = timezone.now() - timedelta(seconds=1)
    redact_phrase(conversation, "heap", redactor, "asked for")
    told = [notice.what for notice in changes_since({user.pk}, before) if notice.what == "redacted"]
    assert told == ["redacted"]
