"""Sending in Chromium while the connection fails: no message is lost or doubled."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import OUTBOX_SIZE, another_tab, banner
from tests.support.chat_page import (
    HALF,
    WORDS,
    PageSockets,
    composer,
    held_question,
    last_answer,
    requests_with,
    send,
    wait_until_final,
)
from tests.support.programs import until
from tests.support.provider_control import release

pytestmark = pytest.mark.browser


def test_a_message_whose_acknowledgement_is_lost_is_sent_again_and_counts_once(wired, sockets, site):
    sockets.on_server_frame = lambda frame: [] if frame["type"] == "accepted" or "seq" in frame else [frame]
    send(wired, "acknowledged into the void [[text=heard]]")
    expect(wired.locator(".pending .state")).to_have_text("Sending…")
    until(lambda: requests_with(site.provider, "into the void"), "the provider to be asked")
    sockets.on_server_frame = None
    sockets.cut()
    expect(last_answer(wired)).to_have_text("heard")
    wait_until_final(wired)
    expect(wired.locator(".bubble")).to_have_count(1)
    assert len({frame["client_id"] for frame in sockets.sent("ask")}) == 1 < len(sockets.sent("ask"))
    assert requests_with(site.provider, "into the void") == 1
    assert wired.evaluate(OUTBOX_SIZE) == 0


def test_unsent_messages_of_closed_tabs_are_sent_once_by_the_next_page(page, site):
    next(site.sessions).enter(page.context)
    for n in range(3):
        tab = page.context.new_page()
        PageSockets(tab).is_down = True
        tab.goto(site.server.base_url)
        send(tab, f"queued{n} in a tab [[deltas=2]]")
        expect(tab.locator(".pending .state")).to_contain_text("Not sent yet")
        tab.close()
    tab = another_tab(page, site.server.base_url)
    expect(tab.locator(".conversation-item")).to_have_count(3)
    expect(tab.locator(".conversation-item .running")).to_have_count(0)
    assert tab.evaluate(OUTBOX_SIZE) == 0
    assert [requests_with(site.provider, f"queued{n} in a tab") for n in range(3)] == [1, 1, 1]


def test_a_message_that_another_tab_sent_is_accepted_in_the_tab_that_shows_it(wired, sockets, site):
    sockets.is_down = True
    sockets.cut()
    send(wired, "sent by the other [[text=done]]")
    tab = another_tab(wired, site.server.base_url)
    expect(tab.locator(".conversation-item")).to_have_count(1)
    sockets.is_down = False
    wired.evaluate("dispatchEvent(new Event('online'))")
    expect(last_answer(wired)).to_have_text("done")
    wait_until_final(wired)
    expect(wired.locator(".pending")).to_have_count(0)
    expect(wired.locator("article")).to_have_count(2)
    assert requests_with(site.provider, "sent by the other") == 1


def test_a_message_that_is_refused_later_comes_back_with_the_reason(wired, sockets, site):
    send(wired, "first [[deltas=2]]")
    wait_until_final(wired)
    sockets.is_down = True
    sockets.cut()
    send(wired, "second, in vain")
    busy, gate = held_question()
    tab = wired.context.new_page()
    tab.goto(wired.url)
    send(tab, busy)
    expect(last_answer(tab)).to_contain_text(HALF)
    sockets.is_down = False
    wired.evaluate("dispatchEvent(new Event('online'))")
    expect(wired.locator(".problem")).to_contain_text("still running")
    expect(composer(wired)).to_have_value("second, in vain")
    expect(wired.locator(".pending")).to_have_count(0)
    expect(last_answer(wired)).to_contain_text(HALF)
    release(site.provider, gate)
    expect(last_answer(wired)).to_have_text(WORDS)


def test_a_refused_message_of_a_closed_tab_becomes_the_draft_of_its_conversation(wired, sockets, site):
    send(wired, "first [[deltas=2]]")
    wait_until_final(wired)
    sockets.is_down = True
    sockets.cut()
    send(wired, "second, in vain")
    expect(wired.locator(".pending")).to_be_visible()
    address = wired.url
    tab = wired.context.new_page()
    tab.goto(address)
    busy, gate = held_question()
    send(tab, busy)
    expect(last_answer(tab)).to_contain_text(HALF)
    wired.close()
    next_tab = another_tab(tab, site.server.base_url)
    expect(next_tab.locator(".problem")).to_contain_text("still running")
    expect(composer(next_tab)).to_have_value("")
    next_tab.goto(address)
    expect(composer(next_tab)).to_have_value("second, in vain")
    release(site.provider, gate)


def test_a_user_never_sends_messages_of_another_user_of_the_same_browser(wired, sockets, site):
    sockets.is_down = True
    sockets.cut()
    send(wired, "from the first user [[text=mine]]")
    expect(wired.locator(".pending")).to_be_visible()
    first_user = wired.context.cookies()
    next(site.sessions).enter(wired.context)
    sockets.is_down = False
    wired.evaluate("dispatchEvent(new Event('online'))")
    expect(banner(wired)).to_contain_text("Another user has signed in")
    expect(wired.locator(".pending .state")).to_contain_text("Not sent yet")
    tab = another_tab(wired, site.server.base_url)
    send(tab, "from the second user [[text=yours]]")
    expect(last_answer(tab)).to_have_text("yours")
    assert requests_with(site.provider, "from the first user") == 0

    wired.context.add_cookies(first_user)
    wired.reload()
    expect(last_answer(wired)).to_have_text("mine")


def test_a_signed_out_page_says_so_and_keeps_its_text(wired, sockets, site):
    sockets.is_down = True
    sockets.cut(code=4401)
    expect(banner(wired)).to_have_text("You have been signed out. Your text is saved. Sign in")
    send(wired, "written while signed out [[text=sent]]")
    expect(wired.locator(".pending .state")).to_contain_text("Not sent yet")
    composer(wired).fill("and half a thought")
    connections = sockets.connections
    wired.evaluate("dispatchEvent(new Event('online'))")
    assert sockets.connections == connections
    sockets.is_down = False
    banner(wired).get_by_role("link").click()
    expect(last_answer(wired)).to_have_text("sent")
    expect(composer(wired)).to_have_value("and half a thought")


def test_corrupted_storage_does_not_stop_the_page(wired, sockets):
    user = wired.evaluate("document.body.dataset.user")
    wired.evaluate(
        "user => { for (const key of [`outbox.${user}.x`, `draft.${user}.new`])"
        " localStorage[`chatsite.${key}`] = '{' }",
        user,
    )
    wired.reload()
    send(wired, "still there? [[text=yes]]")
    expect(last_answer(wired)).to_have_text("yes")
