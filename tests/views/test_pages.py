"""The chat page: its content and its access checks."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation, Generation, LoggedEvent, Message, Model

HTMX = {"HX-Request": "true"}


def page_of(client, conversation, **query):
    return client.get(reverse("conversation", args=[conversation.pk]), query)


def test_an_empty_page_greets_and_offers_examples(client, model):
    page = client.get("/").content.decode()
    assert "What can I help with?" in page
    assert page.count("data-example") == 4


def test_the_greeting_has_the_first_name_and_never_the_user_name(client, user, model):
    user.first_name = "Ada"
    user.save()
    assert "Hello Ada, what can I help with?" in client.get("/").content.decode()


def test_the_empty_page_marks_a_demo_model(client, model):
    Model.objects.update(is_demo=True)
    assert "OPENAI_API_KEY" in client.get("/").content.decode()


def test_without_a_model_the_page_says_what_to_do(client):
    assert "No model is set up" in client.get("/").content.decode()


def test_an_answer_that_ends_while_the_page_is_made_is_shown_with_its_text(client, exchange, monkeypatch):
    answer = exchange(answer="", status=Generation.Status.RUNNING)
    path = Conversation.path

    def end_after_the_messages_were_read(conversation, **options):
        messages = path(conversation, **options)
        Message.objects.filter(pk=answer.pk).update(text="Whole.", html="<p>Whole.</p>")
        answer.generations.update(status=Generation.Status.COMPLETED)
        return messages

    monkeypatch.setattr(Conversation, "path", end_after_the_messages_were_read)
    assert "<p>Whole.</p>" in page_of(client, answer.conversation).content.decode()


def test_visitors_are_redirected_to_sign_in_and_fragments_answer_401(client, settings):
    settings.LOGIN_URL = "/accounts/signin/"
    client.logout()
    assert client.get("/")["Location"] == "/accounts/signin/?next=/"
    assert client.get("/sidebar/", headers=HTMX).status_code == 401


def test_another_users_conversation_answers_exactly_like_a_missing_one(client, other_user, exchange):
    answer = exchange(owner=other_user)
    generation = answer.generations.get()
    gone = exchange()
    missing = gone.conversation_id
    gone_generation = gone.generations.get().pk
    gone.conversation.delete()
    pairs = [
        ("conversation", answer.conversation_id, missing),
        ("older", answer.conversation_id, missing),
        ("transcript", answer.conversation_id, missing),
        ("rename", answer.conversation_id, missing),
        ("configure", answer.conversation_id, missing),
        ("message", answer.pk, gone.pk),
        ("source", answer.pk, gone.pk),
        ("edit", answer.parent_id, gone.pk),
        ("details", generation.pk, gone_generation),
    ]
    for name, foreign, absent in pairs:
        first = client.get(reverse(name, args=[foreign]))
        second = client.get(reverse(name, args=[absent]))
        assert (first.status_code, second.status_code) == (404, 404), name
        assert first.content == second.content, name
    for name, foreign in [
        ("delete", answer.conversation_id),
        ("restore", answer.conversation_id),
        ("select", answer.pk),
        ("regenerate", answer.parent_id),
        ("resume", answer.pk),
        ("stop", generation.pk),
    ]:
        assert client.post(reverse(name, args=[foreign])).status_code == 404, name
    assert Conversation.objects.get(pk=answer.conversation_id).deleted_at is None


def test_the_policy_forbids_inline_scripts_and_the_page_has_none(client, exchange):
    response = page_of(client, exchange().conversation)
    page = response.content.decode()
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not re.search(r"\son\w+=|\sstyle=|<style", page)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", page))


def test_the_page_loads_nothing_from_other_sites(client, model):
    assert not re.findall(r"(?:src|href|action)=\"(?:https?:)?//", client.get("/").content.decode())


def test_user_text_is_escaped_and_rendered_answers_are_not(client, exchange):
    answer = exchange("<b>bold</b>", "**bold**")
    Message.objects.filter(pk=answer.pk).update(html="<p><strong>bold</strong></p>")
    page = page_of(client, answer.conversation).content.decode()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<strong>bold</strong>" in page


def test_an_answer_without_html_is_shown_as_escaped_text(client, exchange):
    page = page_of(client, exchange(answer="<i>raw</i>").conversation).content.decode()
    assert "&lt;i&gt;raw&lt;/i&gt;" in page


def test_an_answer_in_progress_carries_its_text_so_far_and_its_seq(client, exchange):
    answer = exchange(answer="", status=Generation.Status.RUNNING)
    generation = answer.generations.get()
    LoggedEvent.objects.create(generation_id=generation.pk, seq=1, payload='{"type":"started","model":"m"}')
    LoggedEvent.objects.create(generation_id=generation.pk, seq=2, payload='{"type":"delta","text":"Half a"}')
    page = page_of(client, answer.conversation).content.decode()
    assert f'data-generation="{generation.pk}" data-seq="2"' in page
    assert '<div class="streaming prose" dir="auto">Half a</div>' in page
    # Without JavaScript: no composer, a stop button, and the page reloads itself.
    assert "is-running" in page
    assert 'http-equiv="refresh"' in page
    assert reverse("stop", args=[generation.pk]) in page


def test_a_page_of_a_queued_answer_follows_from_the_start(client, exchange):
    answer = exchange(answer="", status=Generation.Status.RUNNING)
    generation = answer.generations.get()
    LoggedEvent.objects.create(generation_id=generation.pk, seq=1, payload='{"type":"queued","position":3}')
    assert (
        f'data-generation="{generation.pk}" data-seq="0"'
        in page_of(client, answer.conversation).content.decode()
    )


@pytest.mark.parametrize(
    ("status", "fields", "word"),
    [
        ("failed", {"error_message": "The key is wrong."}, "The key is wrong."),
        ("interrupted", {}, "The answer was interrupted."),
        ("stopped", {}, "Stopped."),
        ("completed", {"finish_reason": "length"}, "length limit"),
        ("completed", {"finish_reason": "content_filter"}, "content filter"),
    ],
)
def test_every_unusual_end_is_explained(client, exchange, status, fields, word):
    assert word in page_of(client, exchange(status=status, **fields).conversation).content.decode()


@pytest.mark.parametrize("status", ["interrupted", "stopped"])
def test_an_answer_that_ended_early_can_be_continued(client, exchange, status):
    answer = exchange(status=status)
    assert reverse("resume", args=[answer.pk]) in page_of(client, answer.conversation).content.decode()


def test_the_newest_messages_come_first_and_older_ones_on_demand(client, exchange, monkeypatch):
    monkeypatch.setattr("chat.transcript.messages.PAGE_MESSAGES", 4)
    answer = exchange("q1", "a1")
    for number in (2, 3, 4):
        exchange(f"q{number}", f"a{number}", to=answer.conversation)
    page = page_of(client, answer.conversation).content.decode()
    assert [f'auto">q{n}</div>' in page for n in (1, 2, 3, 4)] == [False, False, True, True]
    link = re.search(r'data-older="([^"]+)"', page)[1]
    older = client.get(link, headers=HTMX).content.decode()
    assert [f'auto">q{n}</div>' in older for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert "data-older" not in older


def test_more_messages_take_no_more_queries(client, exchange, django_assert_max_num_queries):
    answer = exchange()
    for _ in range(15):
        exchange(to=answer.conversation)
    page_of(client, answer.conversation)  # notes the use of the device, once in ten minutes
    with django_assert_max_num_queries(16):
        page_of(client, answer.conversation)


def test_editing_without_javascript_puts_the_message_into_the_composer(client, exchange):
    answer = exchange("first")
    exchange("second", to=answer.conversation)
    second = Message.objects.get(text="second")
    page = client.get(reverse("edit", args=[second.pk])).content.decode()
    assert "\nsecond</textarea>" in page
    assert f'name="parent" value="{answer.pk}"' in page
    assert 'name="is_edit" value="1"' in page


def test_opening_a_conversation_removes_its_new_answer_mark(client, exchange):
    answer = exchange()
    assert "dot unseen" in client.get("/").content.decode()
    page_of(client, answer.conversation)
    assert "dot unseen" not in client.get("/").content.decode()


def test_the_theme_is_in_the_page_from_the_first_byte(client, model):
    client.cookies["theme"] = "dark"
    assert 'data-theme="dark"' in client.get("/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert "data-theme" not in client.get("/").content.decode()


def test_the_theme_can_be_set_without_javascript_and_redirects_back(client, model):
    response = client.post("/preferences/", {"theme": "dark"}, headers={"referer": "http://testserver/c/"})
    assert response.cookies["theme"].value == "dark"
    assert response["Location"] == "http://testserver/c/"
    evil = client.post("/preferences/", {"theme": "dark"}, headers={"referer": "https://evil.example/"})
    assert evil["Location"] == "/"


def test_a_conversation_marks_a_demo_model(client, exchange):
    answer = exchange()
    assert 'class="line muted demo" hidden' in page_of(client, answer.conversation).content.decode()
    Model.objects.update(is_demo=True)
    assert 'class="line muted demo">' in page_of(client, answer.conversation).content.decode()


def test_a_closed_sidebar_is_closed_from_the_first_byte(client, model):
    assert "is-wide" not in client.get("/").content.decode()
    client.cookies["sidebar"] = "closed"
    assert '<body class="chat is-wide"' in client.get("/").content.decode()


def test_an_answer_says_how_many_messages_were_left_out(client, exchange):
    answer = exchange(left_out=3)
    assert "3 earlier messages left out" in page_of(client, answer.conversation).content.decode()


def test_favicon_ico_redirects_to_the_icon(client):
    assert "chat/icon" in client.get("/favicon.ico")["Location"]


def test_an_answer_names_its_model_as_the_menu_does(client, exchange, model):
    Model.objects.update(label="My model")
    answer = exchange(model_name=model.name)
    assert ">My model" in page_of(client, answer.conversation).content.decode()
    answer.generations.update(model_name="a fallback")
    assert ">a fallback" in page_of(client, answer.conversation).content.decode()


def test_a_question_of_another_day_begins_with_its_date(client, exchange):
    first = exchange("one")
    exchange("two", to=first.conversation)
    exchange("three", to=first.conversation)
    early = first.conversation.messages.filter(pk__lte=first.pk)
    early.update(created_at=timezone.now() - timedelta(days=3))
    page = client.get(reverse("conversation", args=[first.conversation_id])).content.decode()
    assert page.count("data-day=") == 1
    assert page.index("data-day=") > page.index("one")


def test_a_wide_text_is_remembered_on_the_device(client, model):
    assert "is-broad" not in client.get(reverse("chat")).content.decode()
    client.post(reverse("settings"), {"width": "broad", "text_size": "normal"})
    assert "is-broad" in client.get(reverse("chat")).content.decode()
