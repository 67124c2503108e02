"""The index follows what is stored, renamed and deleted, and never names a text that is gone."""

from functools import partial

import pytest
from django.core.management import call_command

from chat import search
from chat.models import Conversation, Message, SavedView
from chat.review.redaction import redact_phrase
from chat.search import index


@pytest.fixture
def conversation(user):
    conversation = Conversation.objects.create(user=user, title="A title")
    conversation.messages.create(role=Message.Role.USER, text="question")
    return conversation


def found(query):
    return set(search.find(query).message_of)


def test_a_renamed_conversation_is_found_by_its_new_title_only(conversation):
    conversation.title = "Something else"
    conversation.save(update_fields=["title"])
    assert found("something") == {conversation.pk}
    assert not found("title")


def test_a_changed_text_is_found_as_it_is_now(conversation):
    conversation.messages.update(text="⟦redacted⟧")
    conversation.messages.all().reindex()
    assert not found("question")
    assert found("redacted") == {conversation.pk}
    conversation.messages.update(text="")
    conversation.messages.all().reindex()
    assert not found("redacted")


@pytest.mark.parametrize("delete", [lambda rows: rows.delete(), lambda rows: rows.get().delete()])
def test_a_deleted_message_leaves_the_index(conversation, delete):
    delete(conversation.messages.all())
    assert not found("question")


def test_a_deleted_conversation_leaves_the_index(conversation):
    conversation.delete()
    assert not found("question")
    assert not found("title")


def test_a_rebuild_indexes_what_was_stored_past_the_program(conversation, capsys):
    other = Conversation.objects.create(user=conversation.user, title="Bulk")
    Message.objects.bulk_create(
        Message(conversation=other, role="user", text=f"bulk {number}") for number in range(120)
    )
    index.remove([conversation.messages.get().pk])
    assert not found("bulk")
    call_command("rebuild_search")
    assert found("bulk") == {other.pk}
    assert found("question") == {conversation.pk}
    assert "121 messages" in capsys.readouterr().out


def test_storing_again_replaces(conversation):
    message = conversation.messages.get()
    for text in ("first", "second"):
        search.store([search.Document(message.pk, conversation.user_id, False, text)])
    assert not found("first")
    assert found("second") == {conversation.pk}


def test_asking_takes_two_statements_for_the_index(user, model, django_assert_max_num_queries):
    ask = partial(Conversation.ask, user, "What is a heap?", client_id="one")
    with django_assert_max_num_queries(40) as queries:
        started = ask()
    statements = [query["sql"] for query in queries.captured_queries if "chat_search" in query["sql"]]
    assert len(statements) <= 2
    assert found("heap") == {started.conversation_id}


def test_redacted_text_leaves_the_index_with_its_title(conversation, staff):
    view = SavedView.objects.create(name="The question", query="q=my+Question&state=failed", author_name="x")
    redact_phrase(conversation, "question", staff, "privacy")
    assert not found("question")
    assert found("redacted") == {conversation.pk}
    view.refresh_from_db()
    assert "question" not in f"{view.name} {view.query}".lower()
    assert view.query.endswith("&state=failed")
    redact_phrase(conversation, "title", staff, "privacy")
    assert not found("title")
