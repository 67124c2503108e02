"""Reconnecting in Chromium: the page detects failures and catches up."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.steps import banner, until_connected, until_seen, until_tried
from tests.support.chat_page import (
    HALF,
    WORDS,
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


@pytest.mark.parametrize("sign", ["online", "visibilitychange", "pageshow"])
def test_signs_of_a_connection_reconnect_at_once_and_only_once(page, sockets, site, sign):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    until_connected(page, sockets, 1)
    page.evaluate("Math.random = () => 1")
    sockets.is_down = True
    sockets.cut()
    page.clock.fast_forward(5_000)
    until_tried(page, sockets, 2)
    page.clock.pause_at(time.time() + 3600)
    sockets.is_down = False
    target = "document" if sign == "visibilitychange" else "window"

    def is_back_after_many_signs():
        page.evaluate(f"for (let n = 0; n < 20; n++) {target}.dispatchEvent(new Event({sign!r}))")
        page.wait_for_timeout(20)
        return len(sockets.sent("watch")) == 2

    until(is_back_after_many_signs, "the page to be back")
    assert sockets.opened == 1


def test_a_silently_dead_connection_is_detected_and_the_answer_continues(page, sockets, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    question, gate = held_question()
    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)
    sockets.go_silent()
    release(site.provider, gate)
    page.clock.fast_forward(15_500)  # of silence, then it sends a ping
    assert sockets.connections == 1
    page.clock.fast_forward(10_500)  # for the pong
    page.clock.fast_forward(1_000)
    expect(last_answer(page)).to_have_text(WORDS)
    wait_until_final(page)
    assert sockets.connections == 2


def test_a_message_sent_into_a_dead_connection_is_sent_again_within_ten_seconds(page, sockets, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    until_seen(page, lambda: sockets.pongs, "the page to be connected, and nothing of it to be open")
    sockets.go_silent()
    send(page, "hello? [[text=hello]]")
    page.clock.fast_forward(10_500)
    page.clock.fast_forward(1_000)
    expect(last_answer(page)).to_have_text("hello")


def test_a_server_restart_shows_no_notice(wired, sockets):
    wired.evaluate(
        "window.said = []; const line = document.querySelector('.connection');"
        " new MutationObserver(() => said.push(line.textContent)).observe(line, { childList: true })"
    )
    sockets.cut(code=1012)
    until_connected(wired, sockets, 2)
    send(wired, "hello [[text=hello]]")
    expect(last_answer(wired)).to_have_text("hello")
    assert wired.evaluate("said") == []


def test_a_server_that_accepts_and_drops_is_retried_with_growing_delays(page, sockets, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    sockets.is_dropping = True
    page.goto(site.server.base_url)
    page.evaluate("Math.random = () => 1")
    for _n in range(40):
        page.clock.run_for(500)
        page.wait_for_timeout(10)
    # After 0.6, 1.1, 2.1, 4.1 and 8.1 seconds; every 0.6 seconds it would be thirty.
    assert sockets.connections <= 8
    expect(banner(page)).to_have_text("Reconnecting… Your text is saved.")
    sockets.is_dropping = False
    page.clock.run_for(20_000)
    expect(banner(page)).to_have_text("")
    expect(page.locator("#announcer")).to_contain_text("Connected again.")


def test_without_a_network_the_answer_waits_and_messages_are_sent_afterwards(chat, site):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    chat.context.set_offline(True)
    release(site.provider, gate)
    expect(banner(chat)).to_contain_text("You are offline")
    expect(last_answer(chat)).to_contain_text(HALF)
    chat.context.set_offline(False)
    expect(last_answer(chat)).to_have_text(WORDS)
    expect(banner(chat)).to_have_text("")
    wait_until_final(chat)

    chat.context.set_offline(True)
    send(chat, "sent without a network [[text=arrived]]")
    expect(banner(chat)).to_contain_text("You are offline")
    expect(chat.locator(".pending .state")).to_contain_text("Not sent yet")
    chat.context.set_offline(False)
    expect(last_answer(chat)).to_have_text("arrived")
    wait_until_final(chat)
    shown = chat.locator("chat-transcript .prose, chat-transcript .bubble").all_inner_texts()
    chat.reload()
    assert chat.locator("chat-transcript .prose, chat-transcript .bubble").all_inner_texts() == shown
    assert requests_with(site.provider, "sent without a network") == 1


def test_an_outdated_page_asks_for_a_reload_and_keeps_everything(wired, sockets, site):
    sockets.on_page_frame = lambda frame: frame | {"v": 0}
    sockets.cut()
    until_connected(wired, sockets, 2)
    expect(banner(wired)).to_have_text(
        "This site has been updated. Reload the page; your text is saved. Reload"
    )
    send(wired, "of an old page [[text=understood]]")
    expect(wired.locator(".pending .state")).to_contain_text("Not sent yet")
    composer(wired).fill("half a thought")
    sockets.on_page_frame = None
    banner(wired).get_by_role("link", name="Reload").click()
    expect(last_answer(wired)).to_have_text("understood")
    expect(composer(wired)).to_have_value("half a thought")
    assert requests_with(site.provider, "of an old page") == 1


def test_a_page_whose_scripts_are_missing_after_a_deploy_still_sends(page, site):
    page.route(re.compile(r"/chat/page\."), lambda route: route.fulfill(status=404))
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    composer(page).fill("without scripts [[text=sent]]")
    page.unroute_all()
    page.get_by_role("button", name="Send").click()
    expect(last_answer(page)).to_have_text("sent")
