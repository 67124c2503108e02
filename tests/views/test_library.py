"""The library of prompts and presets, and the settings page."""

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat.models import Model, Preferences, Preset, SavedPrompt


def test_a_prompt_is_created_changed_offered_and_deleted(client, user):
    client.post(reverse("library_new", args=["prompts"]), {"name": "Sum up", "text": "Sum up {{text}}"})
    prompt = SavedPrompt.objects.get()
    assert client.get(reverse("library_offered")).json() == [{"name": "Sum up", "text": "Sum up {{text}}"}]
    address = reverse("library_entry", args=["prompts", prompt.pk])
    client.post(address, {"name": "Shorten", "text": "Shorten {{text}}"})
    assert "Shorten" in client.get(reverse("library")).content.decode()
    client.post(address, {"action": "delete"})
    assert not SavedPrompt.objects.exists()


def test_shared_entries_are_of_everybody_or_of_their_groups_and_cannot_be_changed(client, user):
    everybody = SavedPrompt.objects.create(name="for all", text="a")
    theirs = SavedPrompt.objects.create(name="for teachers", text="b")
    teachers = Group.objects.create(name="teachers")
    theirs.groups.add(teachers)
    names = lambda: [each["name"] for each in client.get(reverse("library_offered")).json()]  # noqa: E731
    assert names() == ["for all"]
    user.groups.add(teachers)
    assert names() == ["for all", "for teachers"]
    assert client.get(reverse("library_entry", args=["prompts", everybody.pk])).status_code == 404


def test_entries_of_another_user_are_like_missing_ones(client, other_user):
    preset = Preset.objects.create(user=other_user, name="Secret")
    assert client.get(reverse("library_entry", args=["presets", preset.pk])).status_code == 404
    assert "Secret" not in client.get(reverse("library")).content.decode()
    assert "Secret" not in client.get("/", {"preset": preset.pk}).content.decode()


def test_an_invalid_preset_is_shown_again_with_the_reason(client, user):
    page = client.post(reverse("library_new", args=["presets"]), {"name": "Hot", "temperature": "9"})
    assert page.status_code == 422
    assert "less than or equal to 2" in page.content.decode()


def test_settings_are_those_of_new_conversations(client, user, model):
    other = Model.objects.create(endpoint=model.endpoint, name="other")
    page = client.post(
        reverse("settings"),
        {
            "first_name": "Ada",
            "text_size": "large",
            "model": other.pk,
            "instructions": "Be brief.",
            "theme": "dark",
            "enter": "breaks",
        },
        follow=True,
    )
    assert "Saved." in page.content.decode()
    chat = client.get("/").content.decode()
    assert "Hello Ada" in chat
    assert 'data-text="large"' in chat
    assert 'data-theme="dark"' in chat
    assert "\nBe brief.</textarea>" in chat
    assert f'value="{other.pk}" checked' in chat
    assert client.cookies["enter"].value == "breaks"


def test_favourites_are_first_in_the_menu_until_they_are_unmarked(client, user, model):
    other = Model.objects.create(endpoint=model.endpoint, name="zebra", label="Zebra")
    names = lambda: client.get("/").content.decode().split('class="model-name">')[1]  # noqa: E731
    assert not names().startswith("Zebra")
    client.post(reverse("favourite", args=[other.pk]))
    assert names().startswith("Zebra")
    assert Preferences.of(user).favourite_models == [other.pk]
    client.post(reverse("favourite", args=[other.pk]))
    assert not names().startswith("Zebra")


@pytest.mark.parametrize("page", ["settings", "organise", "library", "api_keys", "own_data"])
def test_the_pages_of_an_account_lead_to_each_other(client, page):
    shown = client.get(reverse(page)).content.decode()
    assert f'href="{reverse(page)}" aria-current="page"' in shown
    assert reverse("chat") in shown


def test_the_style_guide_is_for_staff_and_shows_every_icon(client, client_of, staff):
    assert client.get(reverse("styleguide")).status_code == 404
    page = client_of(staff).get(reverse("styleguide")).content.decode()
    assert page.count('<use href="#i-wrap"/>') == 2
    assert "is-dark" in page


def test_a_preset_can_begin_with_the_settings_of_a_conversation(client, exchange, client_of, other_user):
    conversation = exchange("hello").conversation
    conversation.system_prompt, conversation.temperature = "Be brief.", 0.4
    conversation.save()
    address = f"{reverse('library_new', args=['presets'])}?of={conversation.pk}"
    assert address in client.get(reverse("configure", args=[conversation.pk])).content.decode()
    page = client.get(address).content.decode()
    assert "Be brief." in page
    assert 'value="0.4"' in page
    assert client_of(other_user).get(address).status_code == 404
