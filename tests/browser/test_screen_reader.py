"""What a screen reader is told on the way from a question to its answer, and where the focus is."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import HALF, composer, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser

# All texts that a live region of the page says, in order.
LISTEN = """() => {
  window.said = [];
  for (const region of document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]")) {
    const note = () => {
      const text = region.textContent.trim();
      if (text && region.checkVisibility()) window.said.push(text);
    };
    const changes = { childList: true, subtree: true, characterData: true, attributes: true };
    new MutationObserver(note).observe(region, changes);
  }
}"""


def said(page):
    return page.evaluate("window.said.splice(0)")


def test_an_answer_is_announced_at_its_start_and_its_end_and_not_by_each_word(chat, site):
    chat.evaluate(LISTEN)
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    assert said(chat) == ["The answer has started."]
    release(site.provider, gate)
    wait_until_final(chat)
    assert said(chat) == ["The answer is complete."]
    expect(composer(chat)).to_be_focused()

    send(chat, held_question()[0])
    expect(chat.locator("article.answer")).to_have_count(2)
    expect(last_answer(chat)).to_contain_text(HALF)
    chat.keyboard.press("Escape")
    wait_until_final(chat)
    assert said(chat)[-1:] == ["Stopped."]
    expect(composer(chat)).to_be_focused()


def test_messages_have_names_and_dialogs_take_and_return_the_focus(chat):
    send(chat, "[[deltas=2]] pears")
    wait_until_final(chat)
    expect(chat.get_by_role("article", name="You")).to_have_count(1)
    expect(chat.get_by_role("article", name="Answer")).to_have_count(1)

    settings = chat.get_by_role("link", name="Conversation settings")
    settings.press("Enter")
    expect(chat.get_by_role("dialog").get_by_label("Model")).to_be_focused()
    chat.keyboard.press("Escape")
    expect(settings).to_be_focused()

    details = chat.locator(".footer a.meta")
    details.press("Enter")
    expect(chat.get_by_role("dialog").get_by_role("heading", name="Details")).to_be_focused()
    chat.keyboard.press("Escape")
    expect(details).to_be_focused()

    more = chat.get_by_role("button", name="Regenerate with another model")
    more.press("Enter")
    menu = chat.get_by_role("menu")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    expect(more).to_have_attribute("aria-expanded", "true")
    chat.keyboard.press("End")
    expect(menu.get_by_role("menuitem").last).to_be_focused()
    chat.keyboard.press("Escape")
    expect(more).to_be_focused()
    expect(more).to_have_attribute("aria-expanded", "false")


def test_the_button_of_the_list_says_whether_it_is_shown(chat):
    button = chat.get_by_role("button", name="Conversations", expanded=True)
    button.press("Space")
    expect(chat.get_by_role("complementary", name="Conversations")).to_be_hidden()
    hidden = chat.get_by_role("button", name="Conversations", expanded=False)
    hidden.press("Enter")
    expect(chat.get_by_role("complementary", name="Conversations")).to_be_visible()
