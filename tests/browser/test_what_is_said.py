"""What the page says about an answer and after an action: pauses, details, undo."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import HALF, WORDS, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser


def test_a_pause_in_the_middle_of_an_answer_is_named(page, site):
    page.clock.install()
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    question, gate = held_question()
    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)
    page.clock.fast_forward(6_000)
    expect(page.locator("article.answer .status")).to_contain_text(re.compile(r"paused for \d+ s"))
    release(site.provider, gate)
    expect(last_answer(page)).to_have_text(WORDS)
    wait_until_final(page)


def test_the_undo_button_of_a_long_title_stays_one_word(chat):
    send(chat, "[[deltas=2]] " + "Unbreakable" * 7)
    wait_until_final(chat)
    chat.hover(".conversation-item")
    chat.click(".conversation-item .options-button")
    chat.click("#options .menu-item >> text=Delete")
    undo = chat.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    assert undo.bounding_box()["height"] < 45
    assert undo.bounding_box()["width"] > 50


def test_the_details_show_times_of_this_device_and_how_long_each_call_took(chat):
    send(chat, "[[drop after=20 times=1]] details")
    wait_until_final(chat)
    chat.click("article.answer .meta")
    details = chat.locator("#dialog")
    expect(details.locator("time")).not_to_contain_text("UTC")
    expect(details.locator("thead")).to_contain_text("Duration")
    expect(details.locator("tbody tr:not(.recovery) td:nth-child(4)")).to_have_text(
        [re.compile(r"^\d+\.\d s$")] * 2
    )
    expect(details).not_to_contain_text("tokens per second")
