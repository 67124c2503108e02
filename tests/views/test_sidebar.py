"""The list of conversations."""

import datetime
import re
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.generation.runner import GenerationRunner
from chat.models import Conversation
from chat.models.position import Position
from chat.views import sidebar

HTMX = {"HX-Request": "true"}


def listed(client, **query):
    return client.get(reverse("sidebar"), query, headers=HTMX).content.decode()


def next_after(html):
    return re.search(r"after=([^&]+)&amp;", html)[1]


def titles(html):
    return re.findall(r'class="conversation-title">(.*?)</span>', html)


def test_a_user_sees_only_their_own_conversations_newest_first(client, exchange, other_user):
    exchange("older one")
    exchange("newer one")
    exchange("not mine", owner=other_user)
    assert titles(listed(client)) == ["newer one", "older one"]


def test_search_finds_titles_and_text_and_marks_the_match(client, exchange):
    exchange("About rivers", "The Seine & the Tiber")
    exchange("Something else", "nothing")
    html = listed(client, q="tiber")
    assert titles(html) == ["About rivers"]
    assert "The Seine &amp; the <mark>Tiber</mark>" in html
    assert titles(listed(client, q="RIVER")) == ["About <mark>river</mark>s"]


def test_a_search_result_leads_to_the_newest_message_with_the_match(client, exchange):
    first = exchange("the needle", "nothing")
    exchange("again", "a NEEDLE", to=first.conversation)
    found = re.search(r'href="(/m/\d+/find/)"', listed(client, q="needle"))[1]
    hit = first.conversation.messages.get(text="a NEEDLE")
    assert client.get(found)["Location"] == f"/c/{first.conversation_id}/#m{hit.pk}"


def test_a_search_result_on_another_branch_leads_to_that_branch(client, exchange):
    hidden = exchange("the needle", "nothing")
    Conversation.objects.get(pk=hidden.conversation_id)
    Conversation.ask(
        hidden.conversation.user,
        "edited",
        client_id="e",
        conversation_id=hidden.conversation_id,
        is_at_leaf=False,
    )
    address = client.get(reverse("find", args=[hidden.parent_id]))["Location"]
    assert address == f"/c/{hidden.conversation_id}/?until={hidden.pk}#m{hidden.parent_id}"
    page = client.get(address).content.decode()
    assert f'id="m{hidden.parent_id}"' in page
    assert "Back to the latest messages" in page


def test_a_message_of_another_user_is_not_found(client, exchange, other_user):
    theirs = exchange(owner=other_user)
    assert client.get(reverse("find", args=[theirs.pk])).status_code == 404
    own = exchange()
    page = client.get(f"/c/{own.conversation_id}/?until={theirs.pk}").content.decode()
    assert f'id="m{own.pk}"' in page
    assert f'id="m{theirs.pk}"' not in page


def test_the_search_term_is_escaped(client, exchange):
    assert "<script>" not in listed(client, q="<script>")


def test_a_search_without_a_match_says_so(client, exchange):
    assert "No conversations match “xyzzy”" in listed(client, q="xyzzy")


def test_the_list_has_pages_and_can_be_reloaded_up_to_the_last_shown_page(client, user, monkeypatch):
    monkeypatch.setattr(sidebar, "PAGE_CONVERSATIONS", 2)
    now = timezone.now()
    for number in range(5):
        Conversation.objects.create(
            user=user, title=f"t{number}", updated_at=now - datetime.timedelta(minutes=number)
        )
    first = listed(client)
    assert titles(first) == ["t0", "t1"]
    second = listed(client, after=next_after(first))
    assert titles(second) == ["t2", "t3"]
    last = listed(client, after=next_after(second))
    assert titles(last) == ["t4"]
    assert 'class="more"' not in last
    through = re.search(r'data-through="([^"]+)"', second)[1]
    assert titles(listed(client, through=through)) == ["t0", "t1", "t2", "t3"]


def test_pages_neither_repeat_nor_miss_conversations_of_the_same_moment(client, user, monkeypatch):
    monkeypatch.setattr(sidebar, "PAGE_CONVERSATIONS", 3)
    now = timezone.now()
    made = {
        Conversation.objects.create(user=user, title=f"t{number}", updated_at=now).title
        for number in range(10)
    }
    html = listed(client)
    found = titles(html)
    while 'class="more"' in html:
        html = listed(client, after=next_after(html))
        found += titles(html)
    assert (len(found), set(found)) == (10, made)


def test_a_page_far_down_takes_no_more_work_than_the_first_one(client, user, monkeypatch):
    now = timezone.now()
    Conversation.objects.bulk_create(
        Conversation(user=user, title=f"t{number}", updated_at=now - datetime.timedelta(minutes=number))
        for number in range(500)
    )
    far = Conversation.objects.get(title="t400")
    with CaptureQueriesContext(connection) as queries:
        assert titles(listed(client, after=str(Position(far.updated_at, far.pk))))[0] == "t401"
    assert not [query for query in queries if "OFFSET" in query["sql"] or "COUNT" in query["sql"]]


@pytest.mark.parametrize(
    "position",
    ["x", "-1", "0", "1.", ".", "1.xyz", "9" * 30, f"{'9' * 17}.{'0' * 32}", "١.٢", "\0", "1." * 9],
)
@pytest.mark.parametrize("name", ["after", "through"])
def test_an_invalid_position_gives_the_first_page(client, exchange, name, position):
    exchange("here")
    assert titles(listed(client, **{name: position})) == ["here"]


def test_groups_are_named_by_age():
    today = datetime.date(2026, 11, 22)
    ages = [sidebar.age_label(today - datetime.timedelta(days=days), today) for days in (0, 1, 7, 8, 40)]
    assert ages == ["Today", "Yesterday", "Last 7 days", "November 2026", "October 2026"]


def test_the_current_conversation_is_marked_and_running_ones_have_a_dot(client, exchange):
    answer = exchange(status="running")
    html = listed(client, current=str(answer.conversation_id))
    assert 'aria-current="page"' in html
    assert "dot running" in html


def test_the_options_of_a_conversation_are_a_page_without_javascript(client, exchange):
    conversation = exchange().conversation
    shown = re.compile(r'<button class="menu-item(?: danger)?"(?: name="action" value="(\w+)")?>')

    def actions():
        return shown.findall(client.get(reverse("options", args=[conversation.pk])).content.decode())

    assert actions() == ["pin", "archive", ""]
    client.post(reverse("organise_one", args=[conversation.pk]), {"action": "pin"})
    assert f'data-conversation="{conversation.pk}" data-pinned>' in listed(client)
    assert actions() == ["unpin", "archive", ""]
    client.post(reverse("organise_one", args=[conversation.pk]), {"action": "archive"})
    assert actions() == ["unpin", "unarchive", ""]
    assert client.get(reverse("options", args=[uuid.uuid4()])).status_code == 404


def test_renaming_in_the_list_and_on_a_page(client, exchange):
    pk = exchange().conversation_id
    assert "<html" not in client.get(reverse("rename", args=[pk]), headers=HTMX).content.decode()
    response = client.post(reverse("rename", args=[pk]), {"title": "  A  new\nname "}, headers=HTMX)
    assert response["HX-Trigger"] == "conversations-changed"
    assert Conversation.objects.get(pk=pk).title == "A new name"
    assert client.post(reverse("rename", args=[pk]), {"title": "B"}).status_code == 302
    assert client.post(reverse("rename", args=[pk]), {"title": "C\0D"}).status_code == 302
    assert Conversation.objects.get(pk=pk).title == "CD"
    refused = client.post(reverse("rename", args=[pk]), {"title": " "}, headers=HTMX)
    assert refused.status_code == 422


def test_deleting_stops_running_answers_and_can_be_undone(client, exchange, monkeypatch):
    stopped = []
    monkeypatch.setattr(GenerationRunner, "stop", lambda self, pk: stopped.append(pk))
    answer = exchange("Precious", status="running")
    pk = answer.conversation_id
    toast = client.post(reverse("delete", args=[pk]), headers=HTMX).content.decode()
    assert stopped == [answer.generations.get().pk]
    assert reverse("restore", args=[pk]) in toast
    assert titles(listed(client)) == []
    client.post(reverse("restore", args=[pk]))
    assert titles(listed(client)) == ["Precious"]


def test_deleting_without_scripts_offers_undo_on_the_next_page(client, exchange, monkeypatch):
    pk = exchange("Precious").conversation_id
    page = client.post(reverse("delete", args=[pk]), follow=True).content.decode()
    assert "“Precious” was deleted." in page
    assert reverse("restore", args=[pk]) in page


def test_settings_of_a_conversation(client, exchange, model):
    conversation = exchange().conversation
    url = reverse("configure", args=[conversation.pk])
    data = {"model": model.pk, "system_prompt": "Be\r\nbrief.", "temperature": "0.5"}
    assert client.post(url, data, headers=HTMX)["HX-Trigger"] == "dialog-done"
    conversation.refresh_from_db()
    assert (conversation.system_prompt, conversation.temperature) == ("Be\nbrief.", 0.5)
    assert client.post(url, {**data, "temperature": "3"}, headers=HTMX).status_code == 422
    assert client.post(url, {**data, "temperature": "nan"}, headers=HTMX).status_code == 422
