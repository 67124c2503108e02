"""axe finds nothing wrong on the pages of a user, in both themes, at the widths of a desk and a phone."""

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import TAGS
from tests.support.accessibility import findings as serious_findings
from tests.support.chat_page import HALF, composer, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import release

pytestmark = pytest.mark.browser

RICH = (
    r"[[rate=0]] [[text=## Plan\n\nSome **bold** text, `code`, \(x^2\) and [a link](https://ok.example).\n\n"
    r"- [ ] milk\n\n"
    r"| Day | To do |\n|---|--:|\n| Monday | Wash |\n\n```python\nprint(1)  # one\n```\n\n> A quote]]"
)
PAGES = (
    "settings",
    "organise",
    "bookmarks",
    "library",
    "library/prompts/new",
    "library/presets/new",
    "keys",
    "data",
)


def findings(page):
    return serious_findings(page, runOnly={"type": "tag", "values": TAGS})


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_on_the_pages_of_a_user(chat, theme, width):
    chat.emulate_media(color_scheme=theme, reduced_motion="reduce")
    chat.set_viewport_size({"width": width, "height": 800})
    found = {"empty": findings(chat)}
    chat.click("#configure")
    found["settings of a new chat"] = findings(chat)
    send(chat, RICH)
    wait_until_final(chat)
    expect(last_answer(chat)).to_contain_text("Monday")
    found["answer"] = findings(chat)
    chat.click("#models summary")
    found["models"] = findings(chat)
    chat.keyboard.press("Escape")
    for name, link in (("settings", "#configure"), ("questions", "#outline"), ("details", ".footer a.meta")):
        chat.locator(link).last.click()
        expect(chat.get_by_role("dialog")).to_be_visible()
        found[name] = findings(chat)
        chat.keyboard.press("Escape")
    chat.keyboard.press("Control+k")
    expect(chat.get_by_role("option").first).to_be_visible()
    found["palette"] = findings(chat)
    chat.keyboard.press("Escape")
    send(chat, "[[status=401]] fail")
    chat.wait_for_selector(".notice.danger")
    composer(chat).fill("x" * 49_000)
    found["failure and counter"] = findings(chat)
    home = chat.url.split("/c/")[0]
    for page in PAGES:
        chat.goto(f"{home}/{page}/")
        found[page] = findings(chat)
    assert found == {name: [] for name in found}


@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_in_comparisons_queues_tags_and_from_right_to_left(chat, site, theme, width):
    chat.emulate_media(color_scheme=theme, reduced_motion="reduce")
    chat.set_viewport_size({"width": width, "height": 800})
    chat.click("#models summary")
    chat.get_by_label("Also ask other").check(force=True)
    found = {"models to compare": findings(chat)}
    chat.keyboard.press("Escape")
    send(chat, "[[deltas=3]] compare")
    choices = chat.get_by_role("button", name="Go on with this answer")
    expect(choices).to_have_count(2)
    found["side by side"] = findings(chat)
    choices.first.click()
    expect(chat.locator("[data-compared]")).to_have_count(0)

    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    send(chat, "and then?")
    expect(chat.locator(".queued")).to_be_visible()
    found["queued"] = findings(chat)
    chat.get_by_role("button", name="Remove").click()
    release(site.provider, gate)
    wait_until_final(chat)
    chat.evaluate("document.documentElement.dir = 'rtl'")
    found["right to left"] = findings(chat)
    conversation = chat.url.rstrip("/")
    home = conversation.split("/c/")[0]
    for address in (f"{conversation}/tags/", f"{home}/no-such-page/", f"{home}/c/{'0' * 8}/"):
        chat.goto(address)
        found[address] = findings(chat)
    chat.context.clear_cookies()
    chat.goto(home)
    found["sign-in"] = findings(chat)
    assert found == {name: [] for name in found}
