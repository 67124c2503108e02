"""Pictures of answers in Chromium: shown while the answer is written, after a reload, and downloaded."""

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import TAGS, findings
from tests.support.chat_page import send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser

WIDTH = "(each) => each.decode().then(() => each.naturalWidth)"


def shown(page):
    return last_answer_of(page).locator(".pictures img")


def last_answer_of(page):
    return page.locator("article.answer").last


def test_a_picture_is_shown_at_once_after_a_reload_and_downloaded(chat, site):
    send(chat, "draw [[deltas=3 images=1]] [[hold=picture after=4]]")
    expect(shown(chat)).to_have_count(1)
    assert shown(chat).evaluate(WIDTH) == 96
    chat.reload()
    expect(shown(chat)).to_have_count(1)
    release(site.provider, "picture")
    wait_until_final(chat)
    for _drawn_by in ("this page", "the server"):
        expect(shown(chat)).to_have_count(1)
        assert shown(chat).evaluate(WIDTH) == 96
        chat.reload()
    with chat.expect_download() as download:
        last_answer_of(chat).get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "picture-1.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    assert findings(chat, runOnly={"type": "tag", "values": TAGS}) == []


def test_an_address_is_text_and_is_not_requested(chat):
    asked = []
    chat.on("request", lambda request: asked.append(request.url))
    send(chat, "draw [[deltas=3 images=1 image_shape=address]]")
    wait_until_final(chat)
    for _drawn_by in ("this page", "the server"):
        expect(last_answer_of(chat).locator(".picture-note")).to_contain_text(
            "https://pictures.invalid/0.png"
        )
        expect(shown(chat)).to_have_count(0)
        chat.reload()
    assert not [url for url in asked if "pictures.invalid" in url]


def test_a_picture_of_a_restarted_answer_is_replaced(chat):
    send(chat, "draw [[vary deltas=3 images=1]] [[cut after=4 times=1]]")
    wait_until_final(chat)
    expect(shown(chat)).to_have_count(1)
    assert shown(chat).evaluate(WIDTH) == 96


def test_a_picture_without_words_is_an_answer(chat):
    send(chat, "draw [[role_only images=2]]")
    wait_until_final(chat)
    expect(shown(chat)).to_have_count(2)
    expect(last_answer_of(chat)).not_to_contain_text("empty answer")
