"""Tasks of a new user, done by what is visible, with the number of clicks that docs/page.md states."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import last_answer, wait_until_final

pytestmark = pytest.mark.browser

CHATS = """
from django.contrib.auth import get_user_model
from chat.models import Conversation
user = get_user_model().objects.get(username={name!r})
Conversation.objects.bulk_create(Conversation(user=user, title=f"Garden {{n}}") for n in range(10))
"""


class Clicks:
    """Clicks on what has a name, and counts."""

    def __init__(self, page):
        self.page = page
        self.count = 0

    def __call__(self, target, **options):
        target.click(**options)
        self.count += 1

    def named(self, role, name):
        self(self.page.get_by_role(role, name=name, exact=True))


@pytest.fixture
def click(chat):
    return Clicks(chat)


def choose_other(chat, click, *, beside):
    click(chat.locator("summary[aria-label^='Model:']"))
    click(
        chat.locator("label", has=chat.get_by_label("Also ask other"))
        if beside
        else chat.get_by_text("other")
    )


def test_another_model_answers_one_message(chat, click):
    choose_other(chat, click, beside=False)
    chat.keyboard.type("[[deltas=3]] who are you?")
    chat.keyboard.press("Enter")
    expect(last_answer(chat)).to_be_visible()
    wait_until_final(chat)
    expect(chat.locator("article.answer .meta").last).to_contain_text("other")
    click.named("button", "Regenerate with another model")
    click.named("menuitem", "fake")
    expect(chat.locator("article.answer .meta").last).to_contain_text("fake")
    assert click.count == 2 + 2


def test_two_models_are_compared_and_the_message_can_be_typed_at_once(chat, click):
    choose_other(chat, click, beside=True)
    chat.keyboard.type("[[deltas=3]] who is better?")
    chat.keyboard.press("Enter")
    choices = chat.get_by_role("button", name="Go on with this answer")
    expect(choices).to_have_count(2)
    click(choices.first)
    expect(chat.locator("[data-compared]")).to_have_count(0)
    assert click.count == 3


def test_the_message_field_can_be_clicked_while_the_menu_of_models_is_open(chat, click):
    click(chat.locator("summary[aria-label^='Model:']"))
    click.named("textbox", "Message")
    expect(chat.locator("#models[open]")).to_have_count(0)
    expect(chat.get_by_role("textbox", name="Message", exact=True)).to_be_focused()


def test_ten_conversations_go_into_a_new_project(chat, click, site):
    name = chat.locator(".user-menu summary").inner_text().strip()
    site.server.query(CHATS.format(name=name))
    click(chat.locator(".user-menu summary"))
    click.named("link", "Organise")
    expect(chat.get_by_role("button", name="Delete")).to_be_hidden()
    click(chat.get_by_role("checkbox", name="Garden 0"))
    click(chat.get_by_role("checkbox", name="Garden 9"), modifiers=["Shift"])
    chat.get_by_label("Or a new project").fill("Plants")
    click.named("button", "Move")
    chat.get_by_role("link", name="Plants").first.click()
    expect(chat.locator(".chosen li")).to_have_count(10)
    assert click.count == 5


def test_a_preset_is_made_from_a_conversation(chat, click):
    chat.keyboard.type("[[deltas=3]] Hello")
    chat.keyboard.press("Enter")
    wait_until_final(chat)
    click.named("link", "Conversation settings")
    click(chat.get_by_role("dialog").get_by_text("Save as preset"))
    chat.get_by_label("Name", exact=True).fill("Gardener")
    click.named("button", "Save")
    expect(chat.get_by_text("Gardener")).to_be_visible()
    assert click.count == 3
