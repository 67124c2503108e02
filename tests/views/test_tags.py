"""Tags, bookmarks, and searches for what one wrote oneself."""

import io
import json
import zipfile

import pytest
from django.urls import reverse

from chat.models import Bookmark, Conversation, Tag
from chat.models.tag import TAGS_PER_CONVERSATION
from chat.review.own_data import zip_of
from chat.views.filters import ListQuery
from tests.views.test_organise import HTMX, do, titles

pytestmark = pytest.mark.django_db


@pytest.fixture
def two(exchange):
    return [exchange(name).conversation for name in ("apples", "pears")]


def names(conversation):
    return [tag.name for tag in conversation.tags.all()]


def test_tags_are_changed_in_a_dialog_and_found_by_search(client, two):
    url = reverse("tags", args=[two[0].pk])
    response = client.post(url, {"tags": " Tax 2026, #Home ,, tax  2026"}, headers=HTMX)
    assert "dialog-done" in response["HX-Trigger"]
    assert names(two[0]) == ["home", "tax 2026"]
    assert 'value="home, tax 2026"' in client.get(url, headers=HTMX).content.decode()
    assert titles(client, q='tag:"tax 2026"') == ["apples"]
    assert titles(client, q="tag:home apples") == ["<mark>apples</mark>"]
    assert titles(client, q="tag:hom") == []
    client.post(url, {"tags": "home"})
    assert names(two[0]) == ["home"]
    assert not Tag.objects.filter(name="tax 2026").exists()  # one that is on nothing is gone


def test_many_get_a_tag_at_once_and_lose_it(client, two):
    ids = [str(each.pk) for each in two]
    client.post(reverse("organise"), {"id": ids, "action": "tag", "tags": "fruit"})
    assert titles(client, q="tag:fruit") == ["pears", "apples"]
    page = client.get(reverse("organise")).content.decode()
    assert page.count('<span class="tag"># fruit</span>') == 2
    assert 'href="/organise/?q=tag%3Afruit"' in page
    client.post(reverse("organise"), {"id": ids[:1], "action": "untag", "tags": "fruit"})
    assert titles(client, q="tag:fruit") == ["pears"]


def test_too_many_or_too_long_tags_are_refused_and_stay_in_the_field(client, two):
    url = reverse("tags", args=[two[0].pk])
    for text, words in (
        ("x" * 41, "at most 40"),
        (",".join(map(str, range(TAGS_PER_CONVERSATION + 1))), "20 tags"),
    ):
        response = client.post(url, {"tags": text}, headers=HTMX)
        assert response.status_code == 422
        page = response.content.decode()
        assert words in page
        assert f'value="{text}"' in page
    assert not Tag.objects.exists()


def test_tags_of_other_users_are_theirs(client_of, other_user, client, two):
    do(client, two[0], "tag", tags="mine")
    stranger = client_of(other_user)
    assert stranger.post(reverse("tags", args=[two[0].pk]), {"tags": "theirs"}).status_code == 404
    assert "mine" not in stranger.get(reverse("organise")).content.decode()


def test_from_me_finds_only_what_the_user_wrote(client, exchange):
    exchange("which quince?", "the japanese one")
    exchange("and jam?", "of quince")
    assert titles(client, q="quince") == ["and jam?", "which <mark>quince</mark>?"]
    assert titles(client, q="quince from:me") == ["which <mark>quince</mark>?"]
    assert ListQuery.parse("from:you").words == "from:you"


def test_a_message_is_bookmarked_listed_and_removed(client, exchange, user):
    answer = exchange("a question", "the answer to keep")
    url = reverse("bookmark", args=[answer.pk])
    html = client.post(url, {"on": "1"}, headers=HTMX).content.decode()
    assert 'aria-pressed="true"' in html
    client.post(url, {"on": "1"})
    assert Bookmark.objects.get().message == answer
    page = client.get(reverse("conversation", args=[answer.conversation_id])).content.decode()
    assert page.count('bookmark" name="off"') == 1
    listed = client.get(reverse("bookmarks")).content.decode()
    assert "the answer to keep" in listed
    assert reverse("find", args=[answer.pk]) in listed
    assert client.post(url, {"off": "list"})["Location"] == reverse("bookmarks")
    assert "Nothing is bookmarked yet" in client.get(reverse("bookmarks")).content.decode()


def test_a_bookmark_of_a_deleted_conversation_is_not_listed_and_one_of_another_user_not_made(
    client, exchange, other_user
):
    answer = exchange("hidden words", "gone")
    client.post(reverse("bookmark", args=[answer.pk]), {"on": "1"})
    answer.conversation.delete_softly()
    assert "gone" not in client.get(reverse("bookmarks")).content.decode()
    foreign = exchange("foreign", owner=other_user)
    assert client.post(reverse("bookmark", args=[foreign.pk]), {"on": "1"}).status_code == 404
    assert Bookmark.objects.count() == 1


def test_tags_and_bookmarks_are_in_the_users_own_data(client, two, user):
    do(client, two[0], "tag", tags="fruit")
    client.post(reverse("bookmark", args=[two[1].leaf_id]), {"on": "1"})
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_of(user)))) as archive:
        account = json.loads(archive.read("account.json"))
    assert account["tags"] == {"fruit": [str(two[0].pk)]}
    assert [each["message_id"] for each in account["bookmarks"]] == [two[1].leaf_id]


def test_the_sidebar_lists_projects_to_drag_conversations_onto(client, two):
    assert 'id="projects" hidden' in client.get(reverse("chat")).content.decode()
    do(client, two[0], "move", new_project="Garden")
    page = client.get(reverse("chat")).content.decode()
    assert 'id="projects">' in page
    assert "Garden" in client.get(reverse("sidebar_projects")).content.decode()
    assert Conversation.objects.filter(project__name="Garden").count() == 1
