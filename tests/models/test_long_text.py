"""Texts in slices: every reader gets the whole text, and none of it stays when it is replaced or deleted."""

import json
from importlib import import_module

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.urls import reverse

from chat import search
from chat.api import serializers
from chat.event_log.read import snapshot_after
from chat.management.details import as_json
from chat.management.exits import Exit
from chat.models import Conversation, Generation, Message, SharedLink, TextSlice, rows
from chat.models.long_text import MARK, SlicedText, create_triggers
from chat.models.redaction import GAP
from chat.review.export import ExportFormat, export
from chat.review.redaction import redact_message, redact_phrase
from chat.review.retention import erase_text
from chat.runtime import cleanup
from chat.transcript.messages import read_article
from chat.transfer.export import ConversationFile
from tests.review.conftest import converse

pytestmark = pytest.mark.django_db

PARTS = ("Once upon a time ", "é🙂 in the middle ", "happily ever after.")
WHOLE = "".join(PARTS)


def store_slices(message, parts=PARTS, name="text"):
    """Store a text of a message in slices, as the end of a very long answer does."""
    key = TextSlice.new_key()
    for position, part in enumerate(parts):
        rows.insert(TextSlice(key=key, position=position, message_id=message.pk, text=part))
    assert rows.update(Message, message.pk, {name: SlicedText(key, len(parts), parts[0])})


@pytest.fixture
def told(user, model):
    """Return a conversation whose answer and its thoughts are stored in slices."""
    conversation = converse(user, model, "Tell me a story", "short")
    Message.objects.filter(pk=conversation.leaf_id).update(html="")
    store_slices(conversation.leaf)
    store_slices(conversation.leaf, ("Hm, ", "a story"), "thinking")
    return Conversation.objects.get(pk=conversation.pk)


def test_the_row_holds_a_reference_and_django_gives_the_text(told):
    pk = told.leaf_id
    ((stored, length),) = rows.pairs(Message, ("text", "id"), "id = %s", [pk])
    assert (stored[0], len(stored), length) == (MARK, 33, pk)
    for message in (Message.objects.get(pk=pk), rows.get(Message, id=pk), told.leaf, *told.path(limit=1)):
        assert (message.text, message.thinking) == (WHOLE, "Hm, a story")
    assert list(Message.objects.filter(pk=pk).values_list("text", "thinking")) == [(WHOLE, "Hm, a story")]
    assert Generation.objects.filter(message=pk).values("message__text").get() == {"message__text": WHOLE}
    assert Generation.objects.select_related("message").get(message=pk).message.text == WHOLE


def test_a_text_that_only_looks_like_a_reference_is_a_text(told):
    for text in (MARK, f"{MARK}and more", MARK + "0" * 32):
        message = told.messages.create(role="user", text=text)
        assert Message.objects.get(pk=message.pk).text == text
        assert not Message.objects.get(pk=message.pk).text.startswith("Once")


def pages(told, client):
    generation = told.leaf.generations.get()
    link = SharedLink.make(told.user, told, days=None)
    return {
        "page": client.get(reverse("conversation", args=[told.pk])).content.decode(),
        "article": read_article(told.user, told.leaf_id),
        "source": client.get(reverse("source", args=[told.leaf_id])).content.decode(),
        "shared": client.get(reverse("shared", args=[link.token])).content.decode(),
        "snapshot": json.loads(snapshot_after(generation.pk, 0)[0].payload)["text"],
        "command": as_json(generation.pk, Exit.COMPLETE)["text"],
        "api": serializers.as_wire(generation).text,
        "prompt": Message.recent(told, told.leaf_id, max_chars=1000)[0][-1].text,
        "own": ConversationFile(told).as_json(),
        "markdown": ConversationFile(told).as_markdown(),
        "html": ConversationFile(told).as_html(),
        **{kind: "".join(export([told.pk], kind, str)) for kind in ExportFormat},
    }


def test_every_reader_gets_the_whole_text(told, user, client_of):
    found = pages(told, client_of(user))
    assert {name for name, text in found.items() if "happily ever after." not in text} == set()


def test_a_search_shows_where_it_found_its_words(told, user):
    document = search.Document(told.leaf_id, user.pk, False, PARTS[0])
    search.store([document])
    hits = search.find("upon", user_id=user.pk)
    assert "Once upon a time" in search.snippets(hits, [told.pk])[told.pk]


def test_going_back_before_slices_stores_the_texts_in_their_messages(told):
    name = "0071_text_slices"
    apps = MigrationLoader(connection).project_state(("chat", name)).apps
    try:
        import_module(f"chat.migrations.{name}").put_back(apps, None)
        ((text, thinking),) = rows.pairs(Message, ("text", "thinking"), "id = %s", [told.leaf_id])
    finally:
        create_triggers()
    assert (text, thinking) == (WHOLE, "Hm, a story")


def test_replacing_the_text_deletes_its_slices(told):
    Message.objects.filter(pk=told.leaf_id).update(text="short")
    assert Message.objects.get(pk=told.leaf_id).text == "short"
    assert "".join(TextSlice.objects.order_by("position").values_list("text", flat=True)) == "Hm, a story"
    Message.objects.filter(pk=told.leaf_id).update(thinking="")
    assert not TextSlice.objects.exists()


def test_other_changes_and_other_slices_leave_what_a_reader_may_still_need(told):
    Message.objects.filter(pk=told.leaf_id).update(html="<p>x</p>", is_refusal=True)
    assert Message.objects.get(pk=told.leaf_id).text == WHOLE
    before = set(TextSlice.objects.values_list("pk", flat=True))
    store_slices(told.leaf, ("Another ", "story"))
    assert Message.objects.get(pk=told.leaf_id).text == "Another story"
    assert before < set(TextSlice.objects.values_list("pk", flat=True))
    TextSlice.delete_unused([told.leaf_id])
    assert Message.objects.get(pk=told.leaf_id).text == "Another story"
    texts = TextSlice.objects.order_by("text").values_list("text", flat=True)
    assert list(texts) == ["Another ", "Hm, ", "a story", "story"]


def test_deleting_the_message_deletes_its_slices(told):
    told.delete()
    assert not TextSlice.objects.exists()


@pytest.mark.parametrize("is_whole", [True, False])
def test_redaction_reaches_every_slice(told, staff, is_whole):
    abandoned = TextSlice(key=TextSlice.new_key(), position=0, message_id=told.leaf_id, text=PARTS[1])
    rows.insert(abandoned)
    if is_whole:
        redact_message(told, told.leaf_id, staff, "private")
        expected = GAP
    else:
        # The phrase lies in two slices.
        redact_phrase(told, "time é🙂 in the middle", staff, "private")
        expected = f"Once upon a {GAP} happily ever after."
    assert Message.objects.get(pk=told.leaf_id).text == expected
    assert not TextSlice.objects.filter(text__contains="middle").exists()


def test_erasing_the_text_by_a_policy_deletes_its_slices(told):
    erase_text([told.pk])
    assert not TextSlice.objects.exists()


def test_cleanup_deletes_slices_that_nothing_refers_to_once_the_answer_has_ended(told):
    generation = told.leaf.generations.get()
    for position in range(3):
        rows.insert(TextSlice(key="a" * 32, position=position, message_id=told.leaf_id, text="abandoned"))
    rows.insert(TextSlice(key="b" * 32, position=0, message_id=told.leaf_id + 1, text="of no message"))
    Generation.objects.filter(pk=generation.pk).update(finished_at=None, status="running")
    assert cleanup.delete_text_slices(50) == 0
    assert TextSlice.objects.filter(text="abandoned").count() == 3
    assert not TextSlice.objects.filter(text="of no message").exists()
    Generation.objects.filter(pk=generation.pk).update(finished_at=told.created_at, status="completed")
    while cleanup.delete_text_slices(50):
        pass
    assert not TextSlice.objects.filter(text="abandoned").exists()
    assert (told.leaf.text, Message.objects.get(pk=told.leaf_id).thinking) == (WHOLE, "Hm, a story")


def test_a_reference_to_fewer_slices_than_were_made_is_refused(told):
    ((stored, _pk),) = rows.pairs(Message, ("text", "id"), "id = %s", [told.leaf_id])
    TextSlice.check_complete("short")
    TextSlice.check_complete(SlicedText(stored[1:], len(PARTS), ""))
    with pytest.raises(RuntimeError):
        TextSlice.check_complete(SlicedText(stored[1:], len(PARTS) + 1, ""))
