"""A person at a browser: signs in by the link, asks, reloads in the middle, and misses nothing."""

import re

import pytest
from playwright.sync_api import expect

from tests.test_never_lost import control, release

pytestmark = pytest.mark.browser

WORDS = " ".join(f"word{n}" for n in range(60))
# Sixty deltas of the text above; after the twentieth the provider waits for the test.
QUESTION = f"[[hold=gate after=20 chars=8]] [[text={WORDS}]]"
HALF = re.compile(r"word16\b|word17")


def sign_in_by_link(page, server):
    """Do what the owner does at the first start."""
    page.goto(re.search(r"http\S+/signin/\S+", server.log)[0])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("New password", exact=True).fill("a long enough secret")
    page.get_by_label(re.compile("again|confirmation", re.I)).fill("a long enough secret")
    page.get_by_role("button", name=re.compile("password", re.I)).click()
    page.get_by_role("link", name=re.compile("conversations|chat", re.I)).or_(composer(page)).first.wait_for()
    page.goto(server.base_url)


def composer(page):
    return page.get_by_role("textbox", name="Message")


def send(page, text):
    composer(page).fill(text)
    composer(page).press("Enter")


def last_answer(page):
    return page.locator("article.answer").last.locator(".prose")


def test_an_answer_is_seen_as_it_comes_and_is_whole_after_a_reload_and_in_two_tabs(page, serve, provider):
    server = serve(provider.env_for_server)
    sign_in_by_link(page, server)

    send(page, QUESTION)
    expect(last_answer(page)).to_contain_text(HALF)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/"))

    page.reload()
    expect(last_answer(page)).to_contain_text(HALF)
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(last_answer(tab)).to_contain_text(HALF)

    release(provider, "gate")
    for each in (page, tab):
        expect(last_answer(each)).to_have_text(WORDS)
        expect(each.locator("article.answer .meta")).to_contain_text("tokens")
        expect(each.get_by_role("button", name="Send")).to_be_visible()
    assert len(re.findall("word0 ", page.locator("main").inner_text().replace(QUESTION, ""))) == 1


def test_a_question_asked_in_one_tab_appears_in_the_other(page, serve, provider):
    server = serve(provider.env_for_server)
    server.sign_in("ada").enter(page.context)
    page.goto(server.base_url)
    send(page, "first [[text=one]]")
    expect(last_answer(page)).to_have_text("one")
    tab = page.context.new_page()
    tab.goto(page.url)

    send(page, "second [[text=two]]")

    expect(last_answer(tab)).to_have_text("two")
    expect(tab.locator("article.answer")).to_have_count(2)


def test_stop_ends_the_answer_and_keeps_its_text(page, serve, provider):
    server = serve(provider.env_for_server)
    server.sign_in("ada").enter(page.context)
    page.goto(server.base_url)
    send(page, QUESTION)
    expect(last_answer(page)).to_contain_text(HALF)

    page.keyboard.press("Escape")

    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(last_answer(page)).to_contain_text(HALF)
    expect(page.get_by_role("button", name="Continue")).to_be_visible()


def test_versions_of_a_message_and_of_an_answer_can_be_leafed_through(page, serve, provider):
    server = serve(provider.env_for_server)
    server.sign_in("ada").enter(page.context)
    page.goto(server.base_url)
    send(page, "apples [[text=red]]")
    expect(last_answer(page)).to_have_text("red")

    composer(page).press("ArrowUp")
    expect(composer(page)).to_have_value("apples [[text=red]]")
    send(page, "pears [[text=green]]")
    expect(last_answer(page)).to_have_text("green")
    expect(page.locator("main")).not_to_contain_text("apples")

    page.get_by_role("button", name=re.compile("Previous|Earlier|Older", re.I)).first.click()
    expect(last_answer(page)).to_have_text("red")


def test_what_was_typed_survives_a_reload_and_a_refusal(page, serve, provider):
    server = serve(provider.env_for_server | {"CHATSITE_MESSAGE_MAX_CHARS": "100"})
    server.sign_in("ada").enter(page.context)
    page.goto(server.base_url)
    composer(page).fill("half a thought")
    page.reload()
    expect(composer(page)).to_have_value("half a thought")

    send(page, "x" * 101)
    expect(page.get_by_role("alert")).to_contain_text("100")
    expect(composer(page)).to_have_value("x" * 101)


def test_a_message_sent_while_the_server_is_away_is_sent_once_when_it_is_back(page, serve, provider):
    server = serve(provider.env_for_server)
    server.sign_in("ada").enter(page.context)
    page.goto(server.base_url)
    send(page, "first [[text=one]]")
    expect(last_answer(page)).to_have_text("one")
    server.kill9()

    send(page, "second [[text=two]]")
    expect(page.get_by_text(re.compile("econnecting|ffline|no connection", re.I)).first).to_be_visible()
    expect(page.locator("main")).to_contain_text("second")
    server.restart()

    expect(last_answer(page)).to_have_text("two", timeout=40_000)
    asked = [line for line in control(provider, "requests").split('"question"') if "second" in line]
    assert len(asked) == 1


def test_the_page_works_with_scripts_off(chromium, serve, provider):
    server = serve(provider.env_for_server)
    context = chromium.new_context(java_script_enabled=False)
    server.sign_in("ada").enter(context)
    page = context.new_page()
    page.goto(server.base_url)
    composer(page).fill(QUESTION)
    page.get_by_role("button", name="Send").click()

    expect(last_answer(page)).to_contain_text(HALF, timeout=20_000)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    release(provider, "gate")

    expect(last_answer(page)).to_have_text(WORDS, timeout=20_000)
    expect(composer(page)).to_be_visible()
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_scrolls_sideways(page, serve, provider, width):
    server = serve(provider.env_for_server)
    server.sign_in("ada").enter(page.context)
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(server.base_url)
    wide = "| " + " | ".join("column" for _n in range(30)) + r" |\n|" + "---|" * 30
    send(page, rf"[[rate=0]] [[text={wide}\n\n```\n{'x' * 300}\n```\n\n{'unbroken' * 40}]]")
    expect(last_answer(page).locator("table")).to_be_visible()
    expect(page.locator("article.answer .meta")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
