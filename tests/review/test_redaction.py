"""Redaction: the text is gone from every row, and no page, filter, count, sort or export finds it."""

import json

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.urls import reverse

from chat import events
from chat.errors import RequestRefused
from chat.models import (
    AccessRecord,
    Attachment,
    Conversation,
    Feedback,
    Generation,
    LargeRequest,
    LoggedEvent,
    Mark,
    Message,
    Redaction,
)
from chat.models.access_record import chain_faults
from chat.models.redaction import GAP
from chat.models.title import title_from
from chat.review.redaction import COVERED, phrase_pattern, redact_message, redact_phrase
from tests.review.conftest import converse, staff_with, streamed
from tests.support.attachments import attach

pytestmark = pytest.mark.django_db

SECRET = "Zanzibar 4711"
# Columns of text that no user or model writes, or that must stay as they are.
OTHER_COLUMNS = {
    "AccessRecord": {"actor_name", "address", "reason", "details_hash", "previous_hash", "hash"},
    "Attachment": {"media_type", "upload_sha256"},
    "AttachmentPage": {"media_type"},
    "Attempt": {"request_id", "model_name", "endpoint_name", "error_code", "left_out"},
    "Batch": {
        *("model_name", "parameters", "columns", "provider_file", "provider_batch", "provider_status"),
        *("provider_counts", "owner", "input_file", "url", "metadata", "input_errors"),
    },
    "BatchLine": {"custom_id", "error_code"},
    "BudgetReservation": {"owner"},
    "HourlyUsage": {"model_name", "source"},
    "Comparison": {"answers"},
    "Feedback": {"reasons"},
    "Generation": {"client_id", "model_name", "owner", "finish_reason", "error_code"},
    "ImportedConversation": {"source", "source_id", "model_name"},
    "ImportedMessage": {"source_id", "model_name"},
    "Mark": {"author_name", "resolved_by_name"},
    "Redaction": {"author_name", "messages_changed"},
    "ConversationSummary": {"language"},
    "HourlyFigures": {"model_name", "first_text"},
    "SharedLink": {"token", "owner_name"},
    "SavedView": {"sample", "author_name"},
}
# Tables without texts of conversations, but for parts of columns of `Message`. Rows of the log are deleted.
OTHER_TABLES = {
    # What users wrote for conversations to come.
    *("Preferences", "Preset", "Project", "ProjectFile", "SavedPrompt", "Tag"),
    # What programs uploaded for batches to come; files that go with the attachments that need them.
    *("StoredFile", "FileSlice", "StoredContent", "LooseFile"),
    *("ConversationImport", "ImportReportRow", "LegalHold", "RetentionPolicy", "RetentionReport"),
    *("AccessChain", "ApiKey", "Assignment", "BreakerOverride", "Criterion", "EmbeddingCall", "Endpoint"),
    *("Erasure", "Fallback", "Label", "LargeRequest", "LoggedEvent", "Model", "Process", "Registration"),
    *("Device", "SigninFailure", "SigninLink", "TextSlice", "Webhook", "WebhookEndpoint"),
}


@pytest.fixture
def redactor(db):
    return staff_with(
        "ruth",
        *("view_conversation", "review_conversation", "redact_conversation", "export_conversation"),
        *("view_generation", "view_attempt", "view_feedback"),
    )


@pytest.fixture
def everywhere(user, model):
    """Return a conversation with the secret in every place that can hold it."""
    text = f"My code is {SECRET} , please"
    conversation = converse(
        user,
        model,
        text,
        "Noted: **Zanzibar\n4711**. And zanzibar 4711 again.",
        title=title_from(text),
        system_prompt=f"Never tell {SECRET}.",
    )
    answer = conversation.leaf
    answer.thinking = f"They said {SECRET}."
    answer.tool_calls = [{"id": "c", "name": "f", "arguments": json.dumps({"é": f'"{SECRET}"'})}]
    answer.choices = [
        {"index": index, "text": SECRET, "thinking": "", "refusal": "", "tool_calls": answer.tool_calls}
        | {"logprobs": {"content": [{"token": "Zanzi"}, {"token": "bar 4711"}]}, "finish_reason": "stop"}
        for index in range(2)
    ]
    answer.save()
    generation = answer.generations.get()
    generation.prefix = f"Noted {SECRET}"
    generation.error_message = f"refused: {SECRET}"
    generation.file_notes = [f"{SECRET}.txt was cut"]
    generation.request = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "parameters": {"metadata": {SECRET: SECRET}},
    }
    generation.save()
    LoggedEvent.objects.create(
        generation_id=generation.pk, seq=1, payload=events.encode(events.Delta(SECRET)).decode()
    )
    attempt = generation.attempts.get()
    attempt.abandoned_text = f"Noted: {SECRET}"
    attempt.error_detail = f"400: {SECRET}"
    attempt.abandoned_calls = [{"id": "c", "name": "f", "arguments": f'{{"a": "{SECRET}'}]
    attempt.save()
    Feedback.objects.create(message=answer, user=user, value=-1, comment=f"do not repeat {SECRET}")
    Mark.objects.create(
        kind="note", conversation=conversation, message=answer, author_name="x", text=f"contains {SECRET}"
    )
    file = attach(user, f"{SECRET}.txt", kind="text", text=f"the code {SECRET}", notes=[SECRET])
    Attachment.attach(answer.parent, [file])
    AccessRecord.add("search", actor_id=1, actor_name="x", details={"words": SECRET})
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Conversation),
        object_id=str(conversation.pk),
        object_repr=str(conversation),
        action_flag=3,
        change_message=SECRET,
    )
    return conversation


def stored_text():
    """Return every value of every column of text in the database."""
    found = []
    for table in apps.get_models():
        for row in table.objects.values_list():
            found += [
                bytes(v).decode(errors="replace") if isinstance(v, memoryview | bytes) else str(v)
                for v in row
            ]
    return "\n".join(found)


def test_a_phrase_is_removed_from_every_column_of_every_table(everywhere, redactor):
    assert stored_text().casefold().count("zanzibar") >= 14

    done = redact_phrase(everywhere, SECRET, redactor, "a door code")

    left = stored_text().casefold()
    assert "zanzibar" not in left
    assert "4711" not in left
    assert not LoggedEvent.objects.exists()
    assert done.messages_changed == [message.pk for message in everywhere.messages.order_by("pk")]
    assert (done.author_name, done.reason) == ("ruth", "a door code")


def test_the_gap_is_marked_and_the_html_rendered_again(everywhere, redactor):
    redact_phrase(everywhere, SECRET, redactor, "a door code")
    question, answer = everywhere.messages.order_by("pk")
    assert question.text == f"My code is {GAP} , please"
    assert answer.text.count(GAP) == 2
    assert answer.html.count(GAP) == 2
    everywhere.refresh_from_db()
    assert everywhere.title == f"My code is {GAP} , please"


def test_a_redaction_does_not_break_the_chain_of_the_access_log(everywhere, redactor):
    redact_phrase(everywhere, SECRET, redactor, "a door code")
    assert list(chain_faults()) == []
    assert AccessRecord.objects.get(action="search").details == {"words": GAP}


@pytest.mark.parametrize("url", ["conversation", "generation", "attempt"])
@pytest.mark.parametrize("words", ["Zanzibar", "4711", "zanzibar 4711"])
def test_no_search_finds_what_was_redacted(everywhere, redactor, client_of, url, words):
    redact_phrase(everywhere, SECRET, redactor, "a door code")
    desk = client_of(redactor)
    response = desk.get(reverse(f"admin:chat_{url}_changelist"), {"q": words})
    assert response.context["cl"].result_count == 0
    own = client_of(everywhere.user).get(reverse("sidebar"), {"q": words}, headers={"HX-Request": "true"})
    assert str(everywhere.pk) not in own.content.decode()


LOOKUPS = ["title__icontains", "messages__text__icontains", "title__gt", "messages__html__contains"]


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_no_filter_of_the_address_reaches_text(everywhere, redactor, client_of, lookup):
    response = client_of(redactor).get(reverse("admin:chat_conversation_changelist"), {lookup: "Zanz"})
    # Django redirects to the list without the filter.
    assert response.status_code in {302, 400}


def test_no_page_shows_what_was_redacted(everywhere, redactor, client_of):
    redact_phrase(everywhere, SECRET, redactor, "a door code")
    desk = client_of(redactor)
    generation = everywhere.leaf.generations.get()
    pages = [
        reverse("admin:chat_conversation_change", args=[everywhere.pk]),
        reverse("admin:chat_conversation_panel", args=[everywhere.pk]) + f"?message={everywhere.leaf_id}",
        reverse("admin:chat_generation_change", args=[generation.pk]),
        reverse("admin:chat_attempt_change", args=[generation.attempts.get().pk]),
        *(reverse(f"admin:chat_{name}_changelist") for name in ("conversation", "generation", "feedback")),
    ]
    for page in pages:
        response = desk.get(page)
        assert response.status_code == 200, page
        assert "zanzibar" not in response.content.decode().casefold(), page
    for kind in ("jsonl", "fine_tuning", "csv", "markdown"):
        got = desk.get(reverse("admin:chat_conversation_export"), {"id": everywhere.pk, "format": kind})
        assert "zanzibar" not in streamed(got).decode().casefold(), kind
    own = client_of(everywhere.user).get(reverse("conversation", args=[everywhere.pk])).content.decode()
    assert "zanzibar" not in own.casefold()
    assert GAP in own


def test_the_transcript_says_who_redacted_when_and_why(everywhere, redactor, client_of):
    redact_phrase(everywhere, SECRET, redactor, "a door code")
    html = client_of(redactor).get(reverse("admin:chat_conversation_change", args=[everywhere.pk])).content
    assert html.decode().count("Redacted by ruth: a door code") == 2


def test_a_whole_message_goes_with_its_copies(user, model, redactor):
    text = f"The whole story of {SECRET}"
    conversation = converse(user, model, text, f"You said: {text}. Well.", title=title_from(text))
    generation = conversation.leaf.generations.get()
    generation.request = {"messages": [{"role": "user", "content": text}], "parameters": {}}
    generation.save()
    question = conversation.messages.order_by("pk")[0]

    redact_message(conversation, question.pk, redactor, "asked for by the user")

    assert "Zanzibar" not in stored_text()
    question.refresh_from_db()
    assert question.text == GAP
    conversation.leaf.refresh_from_db()
    assert conversation.leaf.text == f"You said: {GAP}. Well."
    assert Redaction.objects.get().message_id == question.pk


def test_a_short_message_is_removed_in_its_place_only(user, model, redactor):
    conversation = converse(user, model, "yes", "yes, that is a yes")
    question = conversation.messages.order_by("pk")[0]
    redact_message(conversation, question.pk, redactor, "reason")
    question.refresh_from_db()
    conversation.leaf.refresh_from_db()
    assert (question.text, conversation.leaf.text) == (GAP, "yes, that is a yes")


def test_a_title_that_ends_within_the_phrase_does_not_keep_its_beginning(user, model, redactor):
    text = "x" * 20 + " " + "y" * 38 + "Zanzibar-" * 5
    conversation = converse(user, model, text, "ok", title=title_from(text))
    assert "Zanzibar" in conversation.title
    redact_phrase(conversation, "y" * 38 + "Zanzibar-" * 5, redactor, "reason")
    conversation.refresh_from_db()
    assert "Zanz" not in conversation.title


def test_slices_of_a_large_request_are_redacted_even_across_their_borders(user, model, redactor):
    conversation = converse(user, model, "beginning", "answer")
    generation = conversation.leaf.generations.get()
    generation.request = {
        "messages": [],
        "large": {"digest": "x", "message_count": 1, "text_bytes": 300_000},
    }
    generation.save()
    content = "a" * 99_990 + SECRET + "b" * 1_000
    data = json.dumps({"role": "user", "content": content}).encode()
    owner = LargeRequest.objects.create(generation=generation)
    for number, start in enumerate(range(0, len(data), 50_010)):
        owner.slices.create(number=number, data=data[start : start + 50_010])

    redact_phrase(conversation, SECRET, redactor, "reason")

    [message] = json.loads(b"[" + b"".join(LargeRequest.messages_of(generation.pk)) + b"]")
    assert message["content"] == "a" * 99_990 + GAP + "b" * 1_000


@pytest.mark.parametrize(
    ("phrase", "reason", "code"),
    [
        ("absent words", "reason", "not_found"),
        ("x", "reason", "empty"),
        ("  ", "reason", "empty"),
        (SECRET, " ", "no_reason"),
        (SECRET, f"contains {SECRET}", "no_reason"),
        ("y" * 30_000, "reason", "too_long"),
    ],
)
def test_what_cannot_be_redacted_is_refused(everywhere, redactor, phrase, reason, code):
    with pytest.raises(RequestRefused) as refused:
        redact_phrase(everywhere, phrase, redactor, reason)
    assert refused.value.code == code
    assert "Zanzibar" in stored_text()
    assert not Redaction.objects.exists()


def test_an_answer_in_progress_is_not_redacted(everywhere, redactor):
    Generation.objects.update(finished_at=None, status="running")
    with pytest.raises(RequestRefused) as refused:
        redact_phrase(everywhere, SECRET, redactor, "reason")
    assert refused.value.code == "busy"


def test_another_users_conversation_is_untouched(everywhere, other_user, model, redactor):
    theirs = converse(other_user, model, SECRET, SECRET, title=SECRET)
    redact_phrase(everywhere, SECRET, redactor, "reason")
    assert Message.objects.filter(conversation=theirs, text=SECRET).count() == 2


def test_a_pattern_takes_everything_literally():
    pattern = phrase_pattern("a.*(b [c")
    assert pattern.search("x a.*(b\n**[c y")
    assert not pattern.search("a123(b [c")


def test_the_page_redacts_and_records_it(everywhere, redactor, client_of):
    desk = client_of(redactor)
    url = reverse("admin:chat_conversation_redact", args=[everywhere.pk])
    assert desk.get(url).status_code == 200
    refused = desk.post(url, {"what": "phrase", "phrase": "absent words", "reason": "r"})
    assert refused.status_code == 422
    assert "was not found" in refused.content.decode()
    done = desk.post(url, {"what": "phrase", "phrase": SECRET, "reason": "r"})
    assert done.status_code == 302
    record = AccessRecord.objects.get(action="redact")
    assert record.conversation_id == everywhere.pk
    assert record.details["places"] >= 12
    assert "Zanzibar" not in json.dumps(record.details)


def test_every_column_of_text_is_covered_or_is_known_to_hold_none():
    kinds = (models.TextField, models.CharField, models.JSONField, models.BinaryField)
    missing = []
    for table in apps.get_app_config("chat").get_models():
        if table.__name__ in OTHER_TABLES:
            continue
        for field in table._meta.concrete_fields:
            is_text = isinstance(field, kinds) and not field.choices
            known = {*COVERED.get(table, []), *OTHER_COLUMNS.get(table.__name__, set())}
            if is_text and field.name not in known:
                missing.append(f"{table.__name__}.{field.name}")
    assert missing == [], "cover these in chat/review/redaction.py, or list them in this test"
