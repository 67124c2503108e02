"""Pins, the archive, projects, and changes to many conversations at once."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation, Message, Preset, Project
from chat.runtime.cleanup import erase_deleted
from chat.views.filters import ListQuery

HTMX = {"HX-Request": "true"}


def titles(client, **query):
    page = client.get(reverse("sidebar"), query).content.decode()
    return [part.split("</span>")[0] for part in page.split('class="conversation-title">')[1:]]


def do(client, conversation, action, **data):
    return client.post(
        reverse("organise_one", args=[conversation.pk]), {"action": action, **data}, headers=HTMX
    )


@pytest.fixture
def three(exchange):
    return [exchange(name).conversation for name in ("apples", "pears", "plums")]


def test_a_pinned_conversation_is_at_the_top_once_until_it_is_unpinned(client, three):
    do(client, three[0], "pin")
    assert titles(client) == ["apples", "plums", "pears"]
    assert "Pinned" in client.get(reverse("sidebar")).content.decode()
    do(client, three[0], "unpin")
    assert titles(client) == ["plums", "pears", "apples"]


def test_an_archived_conversation_is_off_the_list_and_found_by_search(client, three):
    do(client, three[1], "archive")
    assert titles(client) == ["plums", "apples"]
    assert titles(client, q="is:archived") == ["pears"]
    assert "pears" in client.get(reverse("sidebar"), {"q": "pears"}).content.decode().lower()
    do(client, three[1], "unarchive")
    assert titles(client) == ["plums", "pears", "apples"]


def test_many_are_moved_to_a_project_at_once_and_those_of_others_stay(client, three, exchange, other_user):
    foreign = exchange("foreign", owner=other_user).conversation
    ids = [str(each.pk) for each in (*three[:2], foreign)]
    client.post(reverse("create_project"), {"name": " Fruit "})
    project = Project.objects.get()
    client.post(reverse("organise"), {"id": [*ids, "nonsense"], "action": "move", "project": project.pk})
    assert set(project.conversations.values_list("title", flat=True)) == {"apples", "pears"}
    page = client.get(reverse("project", args=[project.pk])).content.decode()
    assert "pears" in page
    assert "plums" not in page
    assert titles(client, q="in:fruit") == ["pears", "apples"]


def test_many_are_deleted_at_once(client, three):
    client.post(reverse("organise"), {"id": [str(each.pk) for each in three[:2]], "action": "delete"})
    assert titles(client) == ["plums"]


def test_a_conversation_moves_to_a_new_project_from_its_menu(client, three):
    assert "Or a new project" in client.get(reverse("move", args=[three[0].pk])).content.decode()
    do(client, three[0], "move", new_project="Garden")
    three[0].refresh_from_db()
    assert three[0].project.name == "Garden"


def test_a_new_conversation_in_a_project_has_its_model_and_instructions(client, user, model):
    project = Project.objects.create(user=user, name="Work", instructions="Be formal.", model=model)
    page = client.get("/", {"project": project.pk}).content.decode()
    assert "\nBe formal.</textarea>" in page
    assert f'name="project" value="{project.pk}"' in page
    fields = {"text": "Hello", "client_id": "p", "project": project.pk, "system_prompt": "Be formal."}
    client.post(reverse("ask"), fields)
    assert Conversation.objects.get().project == project


def test_the_project_of_another_user_is_like_a_missing_one(client, other_user, model):
    theirs = Project.objects.create(user=other_user, name="Secret")
    assert client.get(reverse("project", args=[theirs.pk])).status_code == 404
    assert client.post(reverse("change_project", args=[theirs.pk])).status_code == 404
    assert "Secret" not in client.get("/", {"project": theirs.pk}).content.decode()
    client.post(reverse("ask"), {"text": "Hello", "client_id": "p", "project": theirs.pk})
    assert not Message.objects.exists()


def test_a_deleted_project_leaves_its_conversations(client, user, three):
    project = Project.objects.create(user=user, name="Work")
    do(client, three[0], "move", project=project.pk)
    client.post(reverse("change_project", args=[project.pk]), {"action": "delete"})
    assert "apples" in titles(client)


def test_a_second_project_of_a_name_is_refused_with_the_reason(client, user):
    Project.objects.create(user=user, name="Work")
    other = Project.objects.create(user=user, name="Home")
    page = client.post(reverse("change_project", args=[other.pk]), {"name": "Work"}, follow=True)
    assert Project.objects.get(pk=other.pk).name == "Home"
    assert "already" in page.content.decode() or "another project" in page.content.decode()


@pytest.mark.parametrize(
    ("query", "words", "filters"),
    [
        ("rain in:work", "rain", [("in", "work")]),
        ('project:"big one" x', "x", [("in", "big one")]),
        ("before:2026-01-31 after:yesterday", "", [("before", "2026-01-31"), ("after", "yesterday")]),
        ("before:soon", "before:soon", []),
        ("before:0001-01-01", "before:0001-01-01", []),
        ("is:tall", "is:tall", []),
        ("login:x", "login:x", []),
    ],
)
def test_filters_are_told_from_words(query, words, filters):
    assert ListQuery.parse(query) == ListQuery(words, filters)


def test_the_list_filters_by_model_and_time(client, three):
    assert titles(client, q="model:test") == ["plums", "pears", "apples"]
    assert titles(client, q="model:nothing") == []
    assert titles(client, q="before:2020-01-01") == []
    assert len(titles(client, q="after:2020-01-01")) == 3


def test_a_preset_fills_the_settings_of_a_new_conversation(client, user, model):
    preset = Preset.objects.create(
        user=user, name="Pirate", system_prompt="Speak like a pirate.", temperature=1.5
    )
    assert "Pirate" in client.get("/").content.decode()
    page = client.get("/", {"preset": preset.pk}).content.decode()
    assert "\nSpeak like a pirate.</textarea>" in page
    assert 'value="1.5"' in page


def test_a_temporary_conversation_is_never_listed_and_says_when_it_is_erased(client, model):
    fields = {"text": "a secret plan", "client_id": "t", "temporary": "1"}
    address = client.post(reverse("ask"), fields)["Location"]
    conversation = Conversation.objects.get()
    assert timedelta(hours=23) < conversation.expires_at - timezone.now() <= timedelta(days=1)
    assert titles(client) == titles(client, q="secret") == titles(client, q="is:pinned") == []
    assert "secret plan" not in client.get(reverse("organise")).content.decode()
    page = client.get(address.split("#")[0]).content.decode()
    assert "is erased on" in page
    assert "People who review this site can read it until then." in page


@pytest.mark.django_db
def test_an_expired_temporary_conversation_is_erased_and_others_stay(exchange):
    expired, kept, usual = (exchange(name).conversation for name in ("old", "new", "usual"))
    now = timezone.now()
    Conversation.objects.filter(pk=expired.pk).update(expires_at=now - timedelta(minutes=1))
    Conversation.objects.filter(pk=kept.pk).update(expires_at=now + timedelta(minutes=1))
    erase_deleted(1_000)
    assert set(Conversation.objects.all()) == {kept, usual}
