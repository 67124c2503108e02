"""Two devices of one user in Chromium: each shows what happens on the other."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import banner, until_connected
from tests.support.chat_page import (
    HALF,
    WORDS,
    PageSockets,
    held_question,
    last_answer,
    send,
    wait_until_final,
)
from tests.support.provider_control import release

pytestmark = pytest.mark.browser


@pytest.fixture
def devices(chromium, site):
    """Return two pages of one user in separate browsers, and the sockets of the second."""
    session = next(site.sessions)
    contexts = [chromium.new_context(viewport={"width": 1000, "height": 700}) for _n in range(2)]
    pages = []
    for context in contexts:
        session.enter(context)
        context.set_default_timeout(10_000)
        pages.append(context.new_page())
    sockets = PageSockets(pages[1])
    for page in pages:
        page.goto(site.server.base_url)
    until_connected(pages[1], sockets, 1)
    yield *pages, sockets
    for context in contexts:
        context.close()


def open_menu(page, item):
    page.hover(".conversation-item")
    page.click(".conversation-item .options-button")
    page.click(f"#options .menu-item >> text={item}")


def test_two_devices_show_the_same_answer_live(devices, site):
    one, two, _wire = devices
    send(one, "[[deltas=2]] a shared conversation")
    two.locator(".conversation-title").click()
    expect(two.locator(".bubble")).to_have_text("[[deltas=2]] a shared conversation")
    question, gate = held_question()
    wait_until_final(one)
    send(one, question)
    expect(last_answer(two)).to_contain_text(HALF)
    expect(two.get_by_role("button", name="Stop")).to_be_visible()
    release(site.provider, gate)
    expect(last_answer(two)).to_have_text(WORDS)
    wait_until_final(two)

    two.locator(".conversation-item a").first.focus()
    open_menu(one, "Rename")
    one.wait_for_selector(".rename [name=title]:focus")
    one.keyboard.type("Another name")
    one.keyboard.press("Enter")
    expect(two.locator("#title")).to_have_text("Another name")
    expect(two.locator(".conversation-title")).to_have_text("Another name")
    expect(two.locator(".conversation-item a").first).to_be_focused()
    open_menu(one, "Delete")
    expect(banner(two)).to_contain_text("This conversation was deleted.")
    expect(two.get_by_role("button", name="Send")).to_be_disabled()
    expect(two.locator(".conversation-item")).to_have_count(0)
    one.click(".toast >> text=Undo")
    expect(banner(two)).to_have_text("")
    expect(two.get_by_role("button", name="Send")).to_be_enabled()
    expect(two.locator(".conversation-item")).to_have_count(1)


def test_a_created_notice_alone_shows_the_new_conversation(devices):
    one, two, sockets = devices
    sockets.on_server_frame = lambda frame: [] if frame["type"] == "changed" else [frame]
    # A page reloads the list once after it is connected.
    with two.expect_response(lambda response: "/sidebar/" in response.url):
        two.reload()
    send(one, "[[deltas=2]] seen at once")
    wait_until_final(one)
    expect(two.locator(".conversation-item")).to_have_count(0)
    conversation = one.locator("body").get_attribute("data-conversation")
    sockets.send_to_page({"type": "changed", "conversation": conversation, "what": "created"})
    expect(two.locator(".conversation-title")).to_have_text("[[deltas=2]] seen at once")


def test_a_device_that_was_offline_catches_up_with_everything(devices):
    one, two, sockets = devices
    send(one, "[[deltas=2]] before")
    two.locator(".conversation-title").click()
    expect(two.locator(".bubble")).to_have_count(1)
    wait_until_final(one)
    sockets.is_down = True
    sockets.cut()
    send(one, "meanwhile [[text=unseen]]")
    wait_until_final(one)
    expect(last_answer(two)).not_to_have_text("unseen")
    two.reload()  # with a socket that comes later than what happens next
    send(one, "and then [[text=late]]")
    wait_until_final(one)
    sockets.is_down = False
    expect(last_answer(two)).to_have_text("late")
    expect(two.locator(".bubble")).to_have_count(3)

    sockets.is_down = True
    sockets.cut()
    open_menu(one, "Delete")
    expect(one.locator(".toast")).to_be_visible()
    sockets.is_down = False
    expect(banner(two)).to_contain_text("This conversation was deleted.")
    one.click(".toast >> text=Undo")
    expect(banner(two)).to_have_text("")
