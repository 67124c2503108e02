"""Export: complete, inert in every program that opens it, recorded, masked, and in bounded memory."""

import csv
import io
import json
import time
import tracemalloc

import pytest
from django.urls import reverse

from chat import rendering
from chat.models import AccessRecord, Conversation, Criterion, Feedback, Label, Mark, Message
from chat.review import masking
from chat.review.export import CSV_COLUMNS, ExportFormat, export
from chat.review.masking import mask
from chat.text import inert_cell
from tests.review.conftest import converse, staff_with, streamed

pytestmark = pytest.mark.django_db


def same(text):
    return text


@pytest.fixture
def clerk(client_of):
    return client_of(staff_with("clerk", "view_conversation", "export_conversation"))


def download(client, conversation, kind):
    got = client.get(reverse("admin:chat_conversation_export"), {"id": conversation.pk, "format": kind})
    assert got.status_code == 200
    return got, streamed(got).decode()


@pytest.fixture
def judged(conversation, user):
    answer = conversation.leaf
    Mark.objects.create(
        kind="verdict",
        conversation=conversation,
        message=answer,
        criterion=Criterion.objects.get(name="Helpful"),
        value=4,
        author_name="vera",
    )
    Mark.objects.create(
        kind="label", conversation=conversation, label=Label.objects.first(), author_name="vera"
    )
    Mark.objects.create(kind="note", conversation=conversation, author_name="vera", text="a note")
    Feedback.objects.create(message=answer, user=user, value=-1, reasons=["incorrect"], comment="no")
    return conversation


def test_json_lines_have_everything(clerk, judged):
    got, text = download(clerk, judged, "jsonl")
    row = json.loads(text)
    assert row["id"] == str(judged.pk)
    assert [message["text"] for message in row["messages"]] == ["What is a heap?", "A *heap* is a tree."]
    answer = row["messages"][1]
    assert answer["generations"][0]["model"] == "test-model"
    assert answer["marks"][0] | {"at": ""} == {
        "kind": "verdict",
        "by": "vera",
        "at": "",
        "criterion": "Helpful",
        "value": 4,
        "value_name": "4",
    }
    assert answer["feedback"][0]["reasons"] == ["incorrect"]
    assert {mark["kind"] for mark in row["marks"]} == {"label", "note"}
    assert "attachment" in got["Content-Disposition"]
    assert got["Content-Disposition"].endswith('.jsonl"')


def test_fine_tuning_lines_have_the_shown_branch_and_the_verdicts(clerk, judged):
    judged.messages.create(role="assistant", parent=judged.messages.order_by("pk")[0], text="not shown")
    Conversation.objects.update(system_prompt="Be brief.")
    row = json.loads(download(clerk, judged, "fine_tuning")[1])
    assert row["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a heap?"},
        {"role": "assistant", "content": "A *heap* is a tree."},
    ]
    assert row["verdicts"] == [{"criterion": "Helpful", "value": 4, "by": "vera", "message": 2}]
    assert row["labels"] == [Label.objects.first().name]
    assert row["feedback"] == [{"message": 2, "value": "down"}]


def test_a_conversation_without_an_answer_is_no_example(clerk, user, model):
    conversation = converse(user, model, "only a question")
    assert download(clerk, conversation, "fine_tuning")[1] == ""


def test_csv_has_a_row_for_each_message(clerk, judged):
    rows = list(csv.DictReader(io.StringIO(download(clerk, judged, "csv")[1].removeprefix("\ufeff"))))
    assert list(rows[0]) == CSV_COLUMNS
    assert [row["text"] for row in rows] == ["What is a heap?", "A *heap* is a tree."]
    assert rows[1]["verdicts"] == "Helpful=4 (vera)"
    assert rows[1]["feedback"] == "-1"


FORMULAS = [
    "=1+1",
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "  =1",
    "＝1",
    '=HYPERLINK("x")',
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(clerk, user, model, text):
    conversation = converse(user, model, text, text, title=text)
    rows = list(csv.reader(io.StringIO(download(clerk, conversation, "csv")[1].removeprefix("\ufeff"))))
    assert len(rows) == 3
    for cell in (cell for row in rows[1:] for cell in row):
        assert not cell.lstrip(" ").startswith(("=", "+", "@", "\t", "\r", "＝")) or cell == ""
    assert rows[1][-1].startswith("'")


def test_ordinary_cells_stay_as_they_are():
    assert [inert_cell(value) for value in ("a = b", "", "1", 5, None)] == ["a = b", "", "1", 5, None]


@pytest.mark.parametrize(
    "text", ["~~~\n<script>x</script>\n~~~~~~", "</details><img src=x>", "# h\n- [x](javascript:1)"]
)
def test_markdown_keeps_texts_in_their_fences(clerk, user, model, text):
    conversation = converse(user, model, text, text, title=f"{text} `title`")
    exported = download(clerk, conversation, "markdown")[1]
    html = rendering.render(exported)
    assert text in exported
    # The renderer of answers has no raw HTML; what counts is that each text is one block of code.
    assert html.count("<pre") == 2
    assert html.count("<h1") == 1
    heading = exported.splitlines()[0]
    assert not any(mark in heading for mark in "<>`[]")


@pytest.mark.parametrize("kind", list(ExportFormat))
def test_lines_with_strange_separators_stay_one_line(clerk, user, model, kind):
    conversation = converse(user, model, "a\u2028b\x85c", "ok")
    text = download(clerk, conversation, kind)[1]
    if kind in {"jsonl", "fine_tuning"}:
        assert len(text.splitlines()) == 1


def test_an_export_is_recorded_for_the_user_whose_conversation_it_is(clerk, conversation):
    download(clerk, conversation, "csv")
    record = AccessRecord.objects.get()
    assert (record.action, record.subject_id, record.conversation_id) == (
        *("export", conversation.user_id),
        conversation.pk,
    )
    assert record.details["format"] == "csv"


@pytest.mark.parametrize("query", [{"id": "x"}, {"format": "exe"}, {}, {"id": "0" * 32}])
def test_an_address_that_names_nothing_is_404(clerk, query):
    assert clerk.get(reverse("admin:chat_conversation_export"), query).status_code == 404
    assert not AccessRecord.objects.exists()


@pytest.mark.parametrize("kind", list(ExportFormat))
def test_memory_does_not_grow_with_the_export(user, model, kind):
    conversations = Conversation.objects.bulk_create(
        Conversation(user=user, model=model, title=f"{number}") for number in range(300)
    )
    Message.objects.bulk_create(
        Message(conversation=conversation, role="assistant", text="word " * 2_000)
        for conversation in conversations
    )
    for conversation in Conversation.objects.all():
        conversation.leaf_id = conversation.messages.get().pk
        conversation.save()
    ids = [conversation.pk for conversation in conversations]
    list(export(ids[:20], kind, same))
    tracemalloc.start()
    size = sum(len(part) for part in export(ids, kind, same))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 2_900_000
    assert peak < size


# -- masking --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to ada.l+x@mail.example.org.", "write to ⟦email⟧."),
        ("call +49 (30) 901820-55 now", "call ⟦phone⟧ now"),
        ("call 030 1234567", "call ⟦phone⟧"),
        ("card 4111 1111 1111 1111", "card ⟦card⟧"),
        ("card 4111111111111111", "card ⟦card⟧"),
        ("key sk-proj-abcdefghijklmnopqrstuvwx", "key ⟦key⟧"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "⟦key⟧"),
    ],
)
def test_personal_data_are_masked(text, masked):
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "on 2026-11-26 at 18:30",
        "1,234,567,890 is a number",
        "3.14159265358979",
        "order 123456",
        "a@b",
        "id 01a21925-728f-7505",
        "x = 100000000000",
    ],
)
def test_other_text_stays(text):
    assert mask(text) == text


@pytest.mark.parametrize(
    "text", ["a@" * 50_000, "1 " * 100_000, "." * 200_000 + "@", "eyJ" * 60_000, "1" * 200_000]
)
def test_masking_hostile_text_is_fast(text):

    start = time.process_time()
    mask(text)
    assert time.process_time() - start < 5


@pytest.fixture
def private(user, model):
    text = "I am ada@example.org, card 4111 1111 1111 1111"
    conversation = converse(user, model, text, "Hello ada@example.org", title=text)
    generation = conversation.leaf.generations.get()
    generation.request = {"messages": [{"role": "user", "content": text}], "parameters": {"user": text}}
    generation.error_message = text
    generation.save()
    generation.attempts.update(abandoned_text=text, error_detail=text)
    Feedback.objects.create(message=conversation.leaf, user=user, value=-1, comment=text)
    Mark.objects.create(kind="note", conversation=conversation, author_name="x", text=text)
    return conversation


PAGES = ["transcript", "list", "feedback", "generation", "attempt", "export", "queue"]
READING = [
    *("view_conversation", "view_generation", "view_attempt", "view_feedback"),
    *("review_conversation", "export_conversation"),
]


def body_of(client, conversation, page):
    generation = conversation.leaf.generations.get()
    urls = {
        "transcript": reverse("admin:chat_conversation_change", args=[conversation.pk]),
        "list": reverse("admin:chat_conversation_changelist"),
        "feedback": reverse("admin:chat_feedback_changelist"),
        "generation": reverse("admin:chat_generation_change", args=[generation.pk]),
        "attempt": reverse("admin:chat_attempt_change", args=[generation.attempts.get().pk]),
        "export": reverse("admin:chat_conversation_export") + f"?id={conversation.pk}",
        "queue": reverse("admin:chat_conversation_queue"),
    }
    response = client.get(urls[page])
    assert response.status_code == 200
    return (streamed(response) if response.streaming else response.content).decode()


@pytest.mark.parametrize("page", PAGES)
def test_personal_data_are_masked_on_each_page(client_of, private, settings, page):
    settings.MASK_PERSONAL_DATA = True
    reader = staff_with("reader", *READING)
    private.assignments.create(reviewer=reader, assigned_by_name="x")
    body = body_of(client_of(reader), private, page)
    assert "example.org" not in body
    assert "4111" not in body


@pytest.mark.parametrize("page", PAGES[:-1])
def test_personal_data_are_shown_with_the_permission(client_of, private, settings, page):
    settings.MASK_PERSONAL_DATA = True
    body = body_of(client_of(staff_with("reader", *READING, "view_personal_data")), private, page)
    assert "example.org" in body


def test_masking_is_off_unless_it_is_set(user):
    assert not masking.is_masking(masking.mask_for(user))
