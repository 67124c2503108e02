"""Keys that an input method uses do nothing else on the page: they neither send, stop nor throw away."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import HALF, composer, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser

# As browsers report a key during a composition, and as Safari reports the one that ends it.
COMPOSING = {"isComposing": True, "keyCode": 229}
ENDED = {"isComposing": False, "keyCode": 229}


def press(locator, key, how):
    event = {"key": key, "bubbles": True, "cancelable": True} | how
    locator.evaluate("(element, init) => element.dispatchEvent(new KeyboardEvent('keydown', init))", event)


@pytest.mark.parametrize("how", [COMPOSING, ENDED])
def test_escape_and_enter_of_an_input_method_leave_an_answer_alone(chat, site, how):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    composer(chat).fill("にほ")

    press(composer(chat), "Enter", how)
    press(composer(chat), "Escape", how)
    press(chat.locator("body"), "Escape", how)

    release(site.provider, gate)
    wait_until_final(chat)
    expect(last_answer(chat)).to_contain_text("word59")
    assert composer(chat).input_value() == "にほ"
    expect(chat.locator(".bubble")).to_have_count(1)


@pytest.mark.parametrize("how", [COMPOSING, ENDED])
def test_escape_of_an_input_method_keeps_an_edit_and_a_new_title(chat, how):
    send(chat, "[[deltas=2]] before")
    wait_until_final(chat)
    composer(chat).press("ArrowUp")
    composer(chat).fill("にほ")
    press(composer(chat), "Escape", how)
    expect(chat.locator(".editing")).to_be_visible()
    assert composer(chat).input_value() == "にほ"

    chat.hover(".conversation-item")
    chat.click(".conversation-item .options-button")
    chat.click("#options .menu-item >> text=Rename")
    title = chat.locator(".rename [name=title]")
    title.fill("にほ")
    press(title, "Escape", how)
    expect(title).to_have_value("にほ")


def test_the_same_keys_without_an_input_method_do_what_they_say(chat):
    question, _gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    press(composer(chat), "Escape", {"keyCode": 27})
    expect(chat.get_by_role("button", name="Continue")).to_be_visible()
