"""The chat page in Chromium, with a real server and the fake provider.

`page` fails a test if a script raises or the content security policy is violated. The tests share one server,
each with a user of its own. Tests that kill the server start their own.
"""

import gzip
import re

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import HALF, WORDS, composer, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import control, release

pytestmark = pytest.mark.browser

HOSTILE = r"[x](javascript:alert(1)) ![i](http://evil.example/i.png) <img src=x onerror=alert(1)> [ok](https://ok.example)"


def sign_in_by_link(page, server):
    """Sign in as the owner does after the first start."""
    page.goto(re.search(r"http\S+/signin/\S+", server.log)[0])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("New password", exact=True).fill("a long enough secret")
    page.get_by_label("New password confirmation").fill("a long enough secret")
    page.get_by_role("button", name="Save password").click()
    composer(page).wait_for()
    page.goto(server.base_url)


# -- answers --------------------------------------------------------------------------------------


def test_an_answer_is_shown_while_it_arrives_and_after_a_reload_and_in_two_tabs(page, serve, provider):
    server = serve(provider.env_for_server)
    sign_in_by_link(page, server)
    question, gate = held_question()

    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/"))

    page.reload()
    expect(last_answer(page)).to_contain_text(HALF)
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(last_answer(tab)).to_contain_text(HALF)

    release(provider, gate)
    for each in (page, tab):
        expect(last_answer(each)).to_have_text(WORDS)
        expect(each.locator("article.answer .meta")).to_contain_text("tokens")
        expect(each.get_by_role("button", name="Send")).to_be_visible()
    assert len(re.findall("word0 ", page.locator("main").inner_text().replace(question, ""))) == 1


def test_an_answer_streams_as_markdown_and_ends_as_the_servers_html(chat, site):
    _question, gate = held_question()
    send(chat, f"[[hold={gate} after=10]] [[text=Some **bold** text and then a lot more of it, to the end.]]")
    chat.wait_for_selector(".is-writing .streaming strong")
    release(site.provider, gate)
    wait_until_final(chat)
    assert last_answer(chat).inner_text().endswith("to the end.")
    assert chat.locator("article.answer .streaming").count() == 0
    assert chat.locator("#announcer").text_content().strip() == "The answer is complete."


def test_hostile_markdown_is_harmless_while_it_streams(chat):
    send(chat, f"[[rate=15 text={HOSTILE} and more words to come until it is over, slowly, word by word.]]")
    chat.wait_for_selector(".streaming a[href='https://ok.example']")
    hrefs = chat.eval_on_selector_all(".streaming a", "links => links.map(link => link.getAttribute('href'))")
    # An image is a link, so that nothing is fetched.
    assert [href for href in hrefs if href] == ["http://evil.example/i.png", "https://ok.example"]
    assert chat.locator("article.answer img").count() == 0
    wait_until_final(chat)
    assert chat.locator("article.answer img, a[href^=javascript]").count() == 0


def test_stop_ends_the_answer_and_keeps_its_text(chat):
    send(chat, held_question()[0])
    expect(last_answer(chat)).to_contain_text(HALF)

    chat.keyboard.press("Escape")

    expect(chat.get_by_role("button", name="Send")).to_be_visible()
    expect(last_answer(chat)).to_contain_text(HALF)
    expect(chat.get_by_role("button", name="Continue")).to_be_visible()


def test_a_failure_explains_itself_and_offers_another_try(chat):
    send(chat, "[[status=401]] fail")
    chat.wait_for_selector(".notice.danger")
    assert "API key" in chat.inner_text(".notice.danger")
    assert chat.inner_text(".notice.danger button") == "Try again"


def test_scrolling_up_stops_following_and_a_link_jumps_back(chat):
    chat.set_viewport_size({"width": 900, "height": 400})
    send(chat, "[[rate=60 deltas=400]] a long one")
    for _ in range(100):
        if chat.eval_on_selector(".scroller", "box => box.scrollTop") > 150:
            break
        chat.wait_for_timeout(100)
    chat.hover("article.answer")
    chat.mouse.wheel(0, -120)
    chat.wait_for_selector(".latest:not([hidden])")
    settled = "new Promise(done => document.querySelector('.scroller').addEventListener('scrollend', done))"
    chat.evaluate(f"Promise.race([{settled}, new Promise(done => setTimeout(done, 1000))])")
    place = chat.eval_on_selector(".scroller", "box => box.scrollTop")
    chat.wait_for_timeout(800)  # several dozen deltas
    assert chat.eval_on_selector(".scroller", "box => box.scrollTop") == place
    chat.click(".latest")
    chat.wait_for_selector(".latest", state="hidden")


# -- versions and tabs ----------------------------------------------------------------------------


def test_versions_of_a_message_and_of_an_answer_can_be_browsed(chat):
    send(chat, "apples [[deltas=4 vary]]")
    wait_until_final(chat)
    first = last_answer(chat).inner_text()
    chat.click("[data-action=regenerate]")
    chat.wait_for_selector("article.answer [aria-label='Version 2 of 2']")
    wait_until_final(chat)
    chat.click("[aria-label='Previous version']")
    chat.wait_for_selector("article.answer [aria-label='Version 1 of 2']")
    assert last_answer(chat).inner_text() == first

    composer(chat).press("ArrowUp")
    expect(composer(chat)).to_have_value("apples [[deltas=4 vary]]")
    send(chat, "pears [[text=green]]")
    expect(last_answer(chat)).to_have_text("green")
    expect(chat.locator("main")).not_to_contain_text("apples")
    wait_until_final(chat)
    chat.click("article.question [aria-label='Previous version']")
    expect(chat.locator("main")).to_contain_text("apples")


def test_messages_edits_and_settings_of_one_tab_appear_in_the_other(chat):
    send(chat, "[[deltas=2]] one")
    wait_until_final(chat)
    other = chat.context.new_page()
    other.goto(chat.url)

    composer(chat).press("ArrowUp")
    send(chat, "[[deltas=2]] another")
    expect(other.locator(".bubble")).to_have_text("[[deltas=2]] another")
    assert other.locator("article").count() == 2
    send(chat, "second [[text=two]]")
    expect(last_answer(other)).to_have_text("two")

    expect(other.locator(".demo")).to_be_hidden()
    chat.click("#configure")
    chat.get_by_role("dialog").get_by_label("Model").select_option(label="other")
    chat.get_by_role("button", name="Save").click()
    expect(other.locator("#models summary")).to_have_text("other")
    expect(other.locator(".demo")).to_be_visible()


# -- sending --------------------------------------------------------------------------------------


def test_enter_right_after_an_answer_always_sends(chat):
    for n in range(12):
        send(chat, f"quick{n} [[deltas=2 rate=0]]")
        # At every distance from the end of the answer before.
        chat.wait_for_timeout(n * 20)
        if composer(chat).input_value():
            expect(composer(chat)).to_have_value("")
    expect(chat.locator(".bubble")).to_have_count(12)
    assert [text.split()[0] for text in chat.locator(".bubble").all_text_contents()] == [
        f"quick{n}" for n in range(12)
    ]


def test_a_draft_survives_a_reload_and_a_refused_text_stays(chat):
    composer(chat).fill("half a thought")
    chat.wait_for_timeout(300)  # drafts are written a moment after the last key
    chat.reload()
    expect(composer(chat)).to_have_value("half a thought")
    send(chat, "x" * 50_001)
    assert "the limit is 50000" in chat.inner_text(".problem")
    assert len(composer(chat).input_value()) == 50_001


def test_settings_can_be_chosen_before_the_first_message(chat):
    chat.click("#configure")
    chat.get_by_label("System prompt", exact=True).fill("Speak like a pirate.")
    chat.get_by_label("Temperature", exact=True).fill("7")
    chat.locator("#new-settings summary").click()
    send(chat, "hello [[deltas=2]]")
    # The invalid field is shown.
    expect(chat.get_by_label("Temperature", exact=True)).to_be_focused()
    chat.get_by_label("Temperature", exact=True).fill("0.5")
    composer(chat).press("Enter")
    wait_until_final(chat)
    chat.click("#configure")
    expect(chat.get_by_label("System prompt")).to_have_value("Speak like a pirate.")
    expect(chat.get_by_label("Temperature")).to_have_value("0.5")


# -- when the server is down ----------------------------------------------------------------------


def test_after_a_server_was_killed_the_answer_is_completed(page, serve, provider):
    server = serve(provider.env_for_server)
    server.sign_in().enter(page.context)
    page.goto(server.base_url)
    send(page, "[[rate=30 deltas=90]] tell me")
    page.wait_for_selector(".is-writing")
    server.kill9()
    server.start()
    wait_until_final(page)
    assert page.locator(".connection").is_hidden()
    shown = last_answer(page).inner_text()
    page.reload()
    assert last_answer(page).inner_text() == shown


def test_a_message_sent_while_the_server_was_down_is_sent_once_even_after_a_reload(page, serve, provider):
    server = serve(provider.env_for_server)
    server.sign_in().enter(page.context)
    page.goto(server.base_url)
    send(page, "[[deltas=2]] first")
    wait_until_final(page)
    server.kill9()
    send(page, "second [[text=two]]")
    page.wait_for_selector(".pending >> text=Not sent yet")
    expect(page.locator(".connection")).to_contain_text("Reconnecting")
    server.start()
    page.reload()
    expect(last_answer(page)).to_have_text("two", timeout=40_000)
    asked = [line for line in control(provider, "requests").split('"question"') if "second" in line]
    assert len(asked) == 1
    assert page.evaluate("Object.keys(localStorage).filter(key => key.includes('outbox'))") == []


# -- the page -------------------------------------------------------------------------------------


def test_the_page_works_without_javascript(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    next(site.sessions).enter(context)
    page = context.new_page()
    page.goto(site.server.base_url)
    page.locator("#new-settings summary").click()
    page.get_by_label("System prompt", exact=True).fill("No scripts here.")
    question, gate = held_question()
    composer(page).fill(question)
    page.get_by_role("button", name="Send").click()

    expect(last_answer(page)).to_contain_text(HALF, timeout=20_000)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    release(site.provider, gate)

    expect(last_answer(page)).to_have_text(WORDS, timeout=20_000)
    page.get_by_role("link", name="Conversation settings").click()
    expect(page.get_by_label("System prompt")).to_have_value("No scripts here.")

    page.goto(site.server.base_url)
    page.get_by_role("button", name="Options for").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_scrolls_sideways(chat, width):
    chat.set_viewport_size({"width": width, "height": 740})
    wide = "| " + " | ".join("column" for _n in range(30)) + r" |\n|" + "---|" * 30
    send(chat, rf"[[rate=0]] [[text={wide}\n\n```\n{'x' * 300}\n```\n\n{'unbroken' * 40}]]")
    expect(last_answer(chat).locator("table")).to_be_visible()
    wait_until_final(chat)
    assert chat.evaluate("document.documentElement.scrollWidth") == width
    assert chat.eval_on_selector(".scroller", "box => box.scrollWidth - box.clientWidth") == 0


def test_the_first_page_is_small_and_loads_nothing_from_other_sites(page, site):
    bodies, requests = {}, []
    page.on("request", lambda request: requests.append(request.url))
    page.on("response", lambda response: bodies.update({response.url: response}))
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    page.wait_for_timeout(500)
    assert all(url.startswith(site.server.base_url) for url in bodies)
    sizes = {url: len(gzip.compress(response.body())) for url, response in bodies.items()}
    assert any(url.endswith(".js") for url in sizes)
    assert sum(sizes.values()) < 100_000
    assert len(requests) <= 30, requests


def test_search_rename_delete_and_undo(chat):
    send(chat, "[[deltas=2]] rivers of Europe")
    wait_until_final(chat)
    chat.fill("#search", "europe")
    chat.wait_for_selector("#conversations mark")
    chat.fill("#search", "")
    chat.wait_for_selector("#conversations mark", state="detached")
    chat.hover(".conversation-item")
    chat.click(".conversation-item .options-button")
    chat.click("#options .menu-item >> text=Rename")
    chat.wait_for_selector(".rename [name=title]:focus")
    chat.keyboard.type("Water")
    chat.keyboard.press("Enter")
    chat.wait_for_selector("#title >> text=Water")
    chat.hover(".conversation-item")
    chat.click(".conversation-item .options-button")
    chat.click("#options .menu-item >> text=Delete")
    chat.click(".toast >> text=Undo")
    chat.wait_for_selector(".conversation-item >> text=Water")
    assert chat.locator(".connection").is_hidden()


def test_a_closed_sidebar_stays_closed_until_it_is_opened(chat):
    sidebar = chat.locator("#sidebar")
    expect(sidebar).to_be_visible()
    chat.click(".drawer-open")
    expect(sidebar).to_be_hidden()
    chat.reload()
    expect(sidebar).to_be_hidden()
    chat.click(".drawer-open")
    expect(sidebar).to_be_visible()
    chat.reload()
    expect(sidebar).to_be_visible()
