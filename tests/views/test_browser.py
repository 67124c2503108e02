"""The page in Chromium, against the real server and the real (fake) provider.

`page` fails a test whose scripts raise or whose policy is violated.
"""

import gzip
import re

import pytest

pytestmark = pytest.mark.browser

HOSTILE = r"[x](javascript:alert(1)) ![i](http://evil.example/i.png) <img src=x onerror=alert(1)> [ok](https://ok.example)"


@pytest.fixture
def chat(page, serve, provider):
    """Return the page of a signed-in person on an empty chat page, and its server as `page.server`."""
    page.server = serve(provider.env_for_server)
    page.server.sign_in().enter(page.context)
    page.goto(page.server.base_url)
    return page


def ask(page, text):
    page.fill("#text", text)
    page.press("#text", "Enter")


def answer_of(page):
    return page.locator("article.answer").last


def wait_until_final(page):
    page.wait_for_selector(".dock:not(.is-running)")
    page.wait_for_selector("article.answer:last-of-type .footer", timeout=30_000)


def test_an_answer_streams_under_its_own_address_and_ends_as_the_servers_html(chat):
    ask(chat, "[[rate=20 text=Some **bold** text and then a lot more of it, word by word, to the end.]]")
    chat.wait_for_selector(".is-writing .streaming strong")
    assert re.search(r"/c/[0-9a-f-]{36}/$", chat.url)
    wait_until_final(chat)
    assert answer_of(chat).locator(".prose").inner_text().endswith("to the end.")
    assert answer_of(chat).locator(".streaming").count() == 0
    assert chat.locator("#announcer").text_content().strip() == "The answer is complete."


def test_a_reload_in_mid_answer_goes_on_without_gap_or_repeat(chat):
    words = " ".join(f"w{number}" for number in range(120))
    ask(chat, f"[[rate=15 text={words}]]")
    chat.wait_for_selector(".streaming >> text=w20")
    chat.reload()
    chat.wait_for_selector(".streaming >> text=w60")
    chat.reload()
    wait_until_final(chat)
    assert answer_of(chat).locator(".prose").inner_text() == words


def test_hostile_markdown_is_harmless_while_it_streams(chat):
    ask(chat, f"[[rate=15 text={HOSTILE} and more words to come until it is over, slowly, word by word.]]")
    chat.wait_for_selector(".streaming a[href='https://ok.example']")
    hrefs = chat.eval_on_selector_all(".streaming a", "links => links.map(link => link.getAttribute('href'))")
    assert [href for href in hrefs if href] == ["https://ok.example"]
    assert chat.locator("article.answer img").count() == 0
    wait_until_final(chat)
    assert chat.locator("article.answer img, a[href^=javascript]").count() == 0


def test_a_killed_server_costs_the_page_nothing_but_time(chat):
    ask(chat, "[[rate=30 deltas=90]] tell me")
    chat.wait_for_selector(".is-writing")
    chat.server.kill9()
    chat.server.start()
    wait_until_final(chat)
    assert chat.locator(".connection").is_hidden()
    shown = answer_of(chat).locator(".prose").inner_text()
    chat.reload()
    assert answer_of(chat).locator(".prose").inner_text() == shown


def test_what_was_sent_while_the_server_was_down_is_sent_when_it_is_back_even_after_a_new_page(chat):
    ask(chat, "[[deltas=2]] first")
    wait_until_final(chat)
    chat.server.kill9()
    ask(chat, "[[deltas=2]] into the void")
    chat.wait_for_selector(".pending >> text=Not sent yet")
    chat.server.start()
    chat.reload()
    wait_until_final(chat)
    assert chat.locator("text=into the void").count() == 1
    assert chat.evaluate("Object.keys(localStorage).filter(key => key.includes('outbox'))") == []


def test_a_draft_survives_a_reload_and_a_refused_text_stays(chat):
    chat.fill("#text", "half a thought")
    chat.wait_for_timeout(300)  # drafts are written a moment after the last key
    chat.reload()
    assert chat.input_value("#text") == "half a thought"
    chat.fill("#text", "x" * 50_001)
    chat.press("#text", "Enter")
    assert "the limit is 50000" in chat.inner_text(".problem")
    assert len(chat.input_value("#text")) == 50_001


def test_a_reader_who_scrolls_up_is_left_alone_and_can_jump_back(chat):
    chat.set_viewport_size({"width": 900, "height": 400})
    ask(chat, "[[rate=60 deltas=400]] a long one")
    for _ in range(100):
        if chat.eval_on_selector(".scroller", "box => box.scrollTop") > 150:
            break
        chat.wait_for_timeout(100)
    chat.hover("article.answer")
    chat.mouse.wheel(0, -120)
    chat.wait_for_selector(".latest:not([hidden])")
    place = chat.eval_on_selector(".scroller", "box => box.scrollTop")
    chat.wait_for_timeout(800)  # several dozen deltas
    assert chat.eval_on_selector(".scroller", "box => box.scrollTop") == place
    chat.click(".latest")
    chat.wait_for_selector(".latest", state="hidden")


def test_answering_again_keeps_the_earlier_version(chat):
    ask(chat, "[[deltas=4 vary]] what?")
    wait_until_final(chat)
    first = answer_of(chat).locator(".prose").inner_text()
    chat.click("[data-action=regenerate]")
    chat.wait_for_selector("article.answer [aria-label='Version 2 of 2']")
    chat.click("[aria-label='Previous version']")
    chat.wait_for_selector("article.answer [aria-label='Version 1 of 2']")
    assert answer_of(chat).locator(".prose").inner_text() == first


def test_an_edit_replaces_the_branch_in_every_tab(chat):
    ask(chat, "[[deltas=2]] one")
    wait_until_final(chat)
    other = chat.context.new_page()
    other.goto(chat.url)
    chat.press("#text", "ArrowUp")
    ask(chat, "[[deltas=2]] another")
    other.wait_for_selector("text=another")
    assert other.locator("article").count() == 2
    assert other.locator(".bubble").inner_text() == "[[deltas=2]] another"


def test_a_failure_says_what_happened_and_offers_another_try(chat):
    ask(chat, "[[status=401]] fail")
    chat.wait_for_selector(".notice.danger")
    assert "API key" in chat.inner_text(".notice.danger")
    assert chat.inner_text(".notice.danger button") == "Try again"


def test_at_360_px_nothing_scrolls_sideways(chat):
    chat.set_viewport_size({"width": 360, "height": 740})
    ask(
        chat,
        "[[rate=0 text="
        + "long" * 60
        + r"\n\n| a | b |\n|---|---|\n| "
        + "cell " * 30
        + "| "
        + "wide" * 30
        + " |]]",
    )
    wait_until_final(chat)
    assert chat.evaluate("document.documentElement.scrollWidth") == 360
    assert chat.eval_on_selector(".scroller", "box => box.scrollWidth - box.clientWidth") == 0


def test_the_first_page_is_small_and_comes_from_here_alone(chat):
    bodies = {}
    chat.on("response", lambda response: bodies.update({response.url: response}))
    chat.context.clear_cookies()
    chat.server.sign_in("bob").enter(chat.context)
    chat.reload()
    chat.wait_for_timeout(500)
    assert all(url.startswith(chat.server.base_url) for url in bodies)
    sizes = {url: len(gzip.compress(response.body())) for url, response in bodies.items()}
    assert any(url.endswith(".js") for url in sizes)
    assert sum(sizes.values()) < 100_000


def test_search_rename_delete_and_undo(chat):
    ask(chat, "[[deltas=2]] rivers of Europe")
    wait_until_final(chat)
    chat.keyboard.press("Control+k")
    chat.keyboard.type("europe")
    chat.wait_for_selector("#conversations mark")
    chat.fill("#search", "")
    chat.wait_for_selector("#conversations mark", state="detached")
    chat.hover(".row")
    chat.click(".row summary")
    chat.click(".row .menu-item >> text=Rename")
    chat.wait_for_selector(".rename [name=title]:focus")
    chat.keyboard.type("Water")
    chat.keyboard.press("Enter")
    chat.wait_for_selector("#title >> text=Water")
    chat.hover(".row")
    chat.click(".row summary")
    chat.click(".row .menu-item >> text=Delete")
    chat.click(".toast >> text=Undo")
    chat.wait_for_selector(".row >> text=Water")
    assert chat.locator(".connection").is_hidden()
