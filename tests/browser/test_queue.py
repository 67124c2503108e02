"""Messages that are sent while an answer is written: shown as queued, kept, and sent in order."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import HALF, composer, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser


def test_a_message_sent_during_an_answer_is_sent_when_that_is_complete(chat, site):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    send(chat, "and then [[text=done]]")
    queued = chat.locator(".queued")
    expect(queued).to_contain_text("Sends when this answer is complete")
    expect(composer(chat)).to_have_value("")
    send(chat, "and at last [[text=over]]")
    expect(queued).to_have_count(2)
    chat.reload()
    expect(queued.locator(".bubble").first).to_have_text("and then [[text=done]]")
    expect(last_answer(chat)).to_contain_text(HALF)
    release(site.provider, gate)
    expect(last_answer(chat)).to_have_text("over")
    expect(queued).to_have_count(0)
    assert chat.locator("article.question .bubble").all_inner_texts() == [
        question,
        "and then [[text=done]]",
        "and at last [[text=over]]",
    ]


def test_a_queued_message_can_be_edited_and_removed(chat, site):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    send(chat, "no, this")
    send(chat, "never mind")
    chat.locator(".queued", has_text="never mind").get_by_role("button", name="Remove").click()
    composer(chat).press("ArrowUp")
    expect(chat.locator(".queued")).to_have_count(0)
    expect(composer(chat)).to_have_value("no, this")
    release(site.provider, gate)
    wait_until_final(chat)
    expect(chat.locator("article.question")).to_have_count(1)


def test_a_message_sent_during_an_answer_that_fails_waits_for_a_click(chat):
    send(chat, "[[cut after=30 rate=20]] a bad one")
    chat.wait_for_selector(".is-writing")
    send(chat, "and then?")
    chat.wait_for_selector(".notice.warning")
    expect(chat.locator(".queued")).to_contain_text("the answer ended early")
    chat.get_by_role("button", name="Send now").click()
    expect(chat.locator(".queued")).to_have_count(0)
    expect(chat.locator("article.question")).to_have_count(2)
