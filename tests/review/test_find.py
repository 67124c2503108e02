"""Reviewers find conversations: each filter, search with snippets, samples, saved views, and few queries."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.models import Assignment, Conversation, ConversationSummary, Feedback, Label, Mark, SavedView
from chat.models.conversation_summary import fill
from chat.models.saved_view import draw
from chat.search.language import language_of
from tests.review.conftest import converse, finish, staff_with

pytestmark = pytest.mark.django_db
LIST = "admin:chat_conversation_changelist"
QUERIES_MAX = 20


def listed(client, **query):
    response = client.get(reverse(LIST), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def with_summary(conversation, **fields):
    ConversationSummary.objects.update_or_create(
        conversation=conversation, defaults={"source": "websocket", "messages_count": 2} | fields
    )
    return conversation


@pytest.fixture
def other(user, model):
    return with_summary(converse(user, model, "other question", "other answer"))


def mark_failed(conversation, **_):
    with_summary(conversation, has_failed=True)


def mark_thumbs_down(conversation, **_):
    Feedback.objects.create(message=conversation.leaf, user=conversation.user, value=-1)


def mark_flagged(conversation, reviewer):
    Mark.objects.create(kind="flag", conversation=conversation, author=reviewer, author_name="vera")


def mark_reviewed(conversation, reviewer):
    Assignment.objects.create(conversation=conversation, reviewer=reviewer, done_at=timezone.now())


def make_old(conversation, **_):
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now() - timedelta(days=40))


def make_hidden(conversation, **_):
    Conversation.objects.filter(pk=conversation.pk).update(is_hidden=True)


@pytest.mark.parametrize(
    ("change", "query"),
    [
        (mark_failed, {"state": "failed"}),
        (
            lambda conversation, **_: with_summary(conversation, has_interrupted=True),
            {"state": "interrupted"},
        ),
        (lambda conversation, **_: with_summary(conversation, has_recovered=True), {"state": "recovered"}),
        (lambda conversation, **_: with_summary(conversation, has_refused=True), {"state": "refused"}),
        (lambda conversation, **_: with_summary(conversation, has_slow=True), {"state": "slow"}),
        (mark_thumbs_down, {"state": "thumbs_down"}),
        (mark_flagged, {"review": "flagged"}),
        (mark_reviewed, {"review": "reviewed"}),
        (lambda conversation, **_: with_summary(conversation, cost_usd="0.2"), {"cost": "0.1"}),
        (lambda conversation, **_: with_summary(conversation, source="api"), {"source": "api"}),
        (lambda conversation, **_: with_summary(conversation, language="fr"), {"language": "fr"}),
        (make_hidden, {"kind": "program"}),
        (make_old, {"until": f"{timezone.now() - timedelta(days=39):%Y-%m-%d}"}),
    ],
)
def test_a_filter_lists_what_it_names_and_nothing_else(desk, reviewer, conversation, other, change, query):
    assert listed(desk, **query) == set()
    change(conversation, reviewer=reviewer)
    assert listed(desk, **query) == {conversation.pk}
    assert listed(desk) == {conversation.pk, other.pk}


def test_periods_groups_users_and_labels(desk, conversation, other, other_user, model):
    make_old(conversation)
    assert listed(desk, period="30") == {other.pk}
    assert listed(desk, period="90") == {conversation.pk, other.pk}
    theirs = converse(other_user, model)
    assert listed(desk, username="BOB") == {theirs.pk}
    group = Group.objects.create(name="Class 4b")
    other_user.groups.add(group)
    assert listed(desk, group=str(group.pk)) == {theirs.pk}
    label = Label.objects.first()
    Mark.objects.create(kind="label", conversation=other, label=label, author_name="x")
    assert listed(desk, label=str(label.pk)) == {other.pk}
    assert listed(desk, review="unreviewed") == {conversation.pk, other.pk, theirs.pk}


@pytest.mark.parametrize(
    "query",
    [
        {"since": "2026-99-99"},
        {"since": "9999-12-31"},
        {"until": "x" * 500},
        {"label": "x"},
        {"sample": "99"},
        {"group": "1'--"},
        {"username": "\x00"},
        {"cost": "NaN"},
        {"state": "nothing"},
        {"p": "99999999"},
    ],
)
def test_a_filter_that_makes_no_sense_is_no_error_of_the_server(desk, conversation, query):
    assert desk.get(reverse(LIST), query).status_code < 500


def test_sorting_by_length_cost_and_duration(desk, conversation, other):
    with_summary(conversation, messages_count=9, cost_usd="0.5", duration_s=3)
    columns = desk.get(reverse(LIST)).context["cl"].list_display
    for name in ("messages_count", "cost", "duration"):
        rows = desk.get(reverse(LIST), {"o": f"-{columns.index(name)}"}).context["cl"].result_list
        assert rows[0].pk == conversation.pk, name


def test_a_search_shows_where_it_found_its_words_and_markup_is_inert(desk, user, model):
    converse(user, model, "<script>alert('x')</script> a Needle & more", title="<b>Needle</b> title")
    page = desk.get(reverse(LIST), {"q": "needle"}).content.decode()
    assert "<mark>Needle</mark> &amp; more" in page
    assert "&lt;b&gt;<mark>Needle</mark>" in page
    assert "<script>alert" not in page


def test_a_masked_reviewer_sees_masked_snippets(desk, user, model, settings):
    settings.MASK_PERSONAL_DATA = True
    converse(user, model, "write to ada.secret@example.org about the needle")
    page = desk.get(reverse(LIST), {"q": "needle"}).content.decode()
    assert "<mark>needle</mark>" in page
    assert "ada.secret" not in page


def test_lists_and_searches_take_few_queries(desk, reviewer, user, model):
    for number in range(60):
        mark_flagged(with_summary(converse(user, model, f"needle {number}", "an answer")), reviewer)
    desk.get(reverse(LIST), {"q": "the first search begins the access log"})
    for query in ({}, {"q": "needle"}, {"review": "flagged", "o": "-5"}, {"q": "ada"}):
        with CaptureQueriesContext(connection) as queries:
            desk.get(reverse(LIST), query)
        statements = [each["sql"] for each in queries.captured_queries if "SAVEPOINT" not in each["sql"]]
        assert 5 < len(statements) <= QUERIES_MAX, query


def test_a_sample_is_drawn_from_the_filtered_list_and_can_be_opened_again(desk, user, other_user, model):
    mine = {converse(user, model).pk for _ in range(6)}
    for _ in range(6):
        converse(other_user, model)
    url = reverse("admin:chat_conversation_sample", query={"username": "ada"})
    response = desk.post(url, {"count": 4}, follow=True)
    drawn = {row.pk for row in response.context["cl"].result_list}
    assert len(drawn) == 4
    assert drawn < mine
    view = SavedView.objects.get()
    assert listed(desk, sample=view.pk) == drawn
    url = reverse("admin:chat_conversation_sample")
    response = desk.post(url, {"count": 10, "per": 2, "group": "user"}, follow=True)
    owners = [row.user_id for row in response.context["cl"].result_list]
    assert sorted(owners) == sorted([user.pk, user.pk, other_user.pk, other_user.pk])


def test_a_draw_is_fair():
    rows = [(number, number % 2) for number in range(10)]
    counts = [0] * 10
    random_ = random.Random(7)
    for _ in range(2_000):
        for pk in draw(rows, 4, 2, random_):
            counts[pk] += 1
    assert min(counts) > 700
    assert max(counts) < 900
    assert len(draw(rows, 100, 1, random_)) == 2


@pytest.mark.parametrize("values", [{"count": "0"}, {"count": "x"}, {"count": "999999999"}, {}])
def test_a_sample_that_makes_no_sense_is_refused_with_a_message(desk, conversation, values):
    response = desk.post(reverse("admin:chat_conversation_sample"), values, follow=True)
    assert "Conversations:" in response.content.decode()
    assert not SavedView.objects.exists()


def test_a_view_is_saved_shared_and_deleted_by_its_author(desk, client_of, conversation):
    url = reverse("admin:chat_conversation_save_view", query={"state": "failed", "o": "-5", "p": "3"})
    desk.post(url, {"name": "Dear failures"})
    view = SavedView.objects.get()
    assert view.query == "state=failed&o=-5"
    link = reverse("admin:chat_savedview_open", args=[view.pk])
    colleague = client_of(staff_with("colleague", "view_conversation"))
    assert colleague.get(link).url.endswith("?state=failed&o=-5")
    assert "Dear failures" in colleague.get(reverse(LIST)).content.decode()
    assert colleague.post(link).status_code == 403
    desk.post(link)
    assert not SavedView.objects.exists()


def test_without_the_permission_there_is_nothing_to_find(client_of, conversation):
    view = SavedView.objects.create(name="v", author_name="x")
    nosy = client_of(staff_with("nosy"))
    for name, arguments in (
        *(("chat_conversation_changelist", []), ("chat_conversation_sample", [])),
        *(("chat_conversation_save_view", []), ("chat_savedview_open", [view.pk])),
    ):
        url = reverse(f"admin:{name}", args=arguments)
        assert nosy.get(url).status_code == 403
        assert nosy.post(url, {"name": "x", "count": 3}).status_code == 403


def test_the_end_of_each_answer_adds_to_the_summary(user, model, conversation):
    generation = conversation.leaf.generations.get()
    generation.recoveries = 1
    generation.finished_at = generation.created_at + timedelta(seconds=3)
    text = "This is the answer, and it is in English for you."

    generation.cost_usd = Decimal("0.25")
    ConversationSummary.add(generation, text)
    generation.status, generation.recoveries = "failed", 0
    ConversationSummary.add(generation, "")
    found = ConversationSummary.objects.get()
    assert (found.messages_count, str(found.cost_usd), found.language) == (2, "0.500000", "en")
    assert found.duration_s == pytest.approx(6)
    assert found.has_recovered
    assert found.has_failed
    assert not found.has_slow


def test_messages_are_added_up_and_not_counted_again(user, model, conversation, django_assert_num_queries):
    generation = conversation.leaf.generations.select_related("message__conversation").get()
    fill([conversation.pk])
    for added, count in ((0, 2), (2, 4), (0, 4), (1, 5)):
        for _number in range(added):
            conversation.messages.create(role="user", text="x")
        with django_assert_num_queries(1):
            ConversationSummary.add(generation, "")
        assert ConversationSummary.objects.get().messages_count == count
    other = converse(user, model)
    generation = other.leaf.generations.select_related("message__conversation").get()
    with django_assert_num_queries(1):
        ConversationSummary.add(generation, "x")
    assert other.summary.messages_count == 2


def test_filling_summaries_gives_what_adding_gives(user, model, conversation):
    message = conversation.messages.create(role="assistant", parent=conversation.leaf, text="x")
    finish(message, user, model, status="failed", error_code="content_filter", cost_usd="0.1")
    fill([conversation.pk])
    found = ConversationSummary.objects.get()
    assert (found.messages_count, found.has_failed, found.has_refused) == (3, True, True)
    assert float(found.cost_usd) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the best way to do this, and why?", "en"),
        ("Wie kann ich das mit einer Liste machen, und warum nicht?", "de"),
        ("Quelle est la meilleure façon de le faire pour vous ?", "fr"),
        ("Как это сделать и почему не так?", "ru"),
        ("这个怎么做?", "zh"),
        ("これはどうすればいいですか", "ja"),
        ("이것을 어떻게 하나요", "ko"),
        ("كيف أفعل هذا", "ar"),
        ("xyzzy 123", ""),
        ("", ""),
    ],
)
def test_the_language_is_told_or_left_open(text, language):
    assert language_of(text) == language


def test_a_count_ends_at_its_limit(desk, user, monkeypatch):
    monkeypatch.setattr("chat.admin.logs.COUNT_MAX", 3)
    Conversation.objects.bulk_create(Conversation(user=user, title=str(number)) for number in range(5))
    assert desk.get(reverse(LIST)).context["cl"].result_count == 3
