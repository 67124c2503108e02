"""What the page offers beside the conversation: commands, prompts, tools of blocks, notices."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import composer, last_answer, send, wait_until_final

pytestmark = pytest.mark.browser

TABLE = r"| place | height |\n|---|---|\n| Porto | 3.2 |\n| Brest | 12.1 |\n| Lisbon | 3.9 |"
CODE = r"```python\n" + r"\n".join(f"line{n} = {n}" for n in range(70)) + r"\n```"


def test_the_palette_finds_commands_models_and_conversations(chat):
    send(chat, "[[deltas=2]] rivers of Europe")
    wait_until_final(chat)
    chat.keyboard.press("Control+k")
    field = chat.get_by_role("combobox", name="Find conversations and commands")
    expect(field).to_be_focused()
    field.fill("model: other")
    chat.keyboard.press("Enter")
    expect(chat.locator("#models summary")).to_have_text("other")

    chat.keyboard.press("Control+k")
    field.fill("dark")
    chat.keyboard.press("Enter")
    expect(chat.locator("html")).to_have_attribute("data-theme", "dark")

    chat.get_by_role("link", name="New chat").click()
    chat.wait_for_selector(".welcome")
    chat.keyboard.press("Control+k")
    field.fill("rivers europe")
    expect(chat.get_by_role("option", name="rivers of Europe")).to_be_visible()
    chat.keyboard.press("Enter")
    expect(chat.locator("article.question")).to_contain_text("rivers of Europe")

    # The list is one stop of the Tab key, with the menu of its row; arrows lead through it.
    stops = "rows => rows.filter(each => each.tabIndex === 0).length"
    chat.get_by_role("link", name="New chat").click()
    send(chat, "[[deltas=2]] another")
    wait_until_final(chat)
    expect(chat.locator(".conversation-item")).to_have_count(2)
    assert chat.eval_on_selector_all(".conversation-item > a, .conversation-item .options-button", stops) == 2
    chat.locator(".conversation-item > a").first.focus()
    chat.keyboard.press("ArrowDown")
    expect(chat.locator(".conversation-item > a").nth(1)).to_be_focused()
    chat.keyboard.press("Enter")
    expect(chat.locator("article.question")).to_contain_text("rivers of Europe")

    chat.click("#outline")
    chat.get_by_role("dialog").get_by_role("link", name="rivers").click()
    expect(chat.locator("article.question")).to_be_focused()


def test_what_is_typed_before_the_palette_is_loaded_counts_and_a_failed_load_is_tried_again(chat):
    held = []
    chat.route("**/palette.*.js", lambda route: route.abort())
    chat.keyboard.press("Control+k")
    palette = chat.locator("#palette")
    expect(chat.locator(".connection")).to_contain_text("could not be loaded")
    expect(palette).to_be_hidden()

    chat.unroute("**/palette.*.js")
    chat.route("**/palette.*.js", lambda route: held.append(route))
    chat.keyboard.press("Control+k")
    chat.keyboard.type("dark")
    chat.keyboard.press("Enter")
    expect(palette).to_be_visible()
    held[0].continue_()
    expect(palette).to_be_hidden()
    expect(chat.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_slash_offers_prompts_and_tab_leads_through_their_variables(chat):
    composer(chat).press_sequentially("/")
    expect(chat.locator("#slash [role=option]")).to_have_text("You have no prompts yet: make one…")
    chat.keyboard.press("Enter")
    chat.get_by_label("Name").fill("Translate")
    chat.get_by_label("Text").fill("Translate {{text}} to {{language}}.")
    chat.get_by_role("button", name="Save").click()
    chat.get_by_role("link", name="Back to the chat").click()
    composer(chat).press_sequentially("/tra")
    expect(chat.locator("#slash [role=option]")).to_have_count(1)
    chat.keyboard.press("Enter")
    chat.keyboard.type("tree")
    chat.keyboard.press("Tab")
    chat.keyboard.type("Latin")
    expect(composer(chat)).to_have_value("Translate tree to Latin.")
    composer(chat).fill("{{one}} and {{two}}")
    chat.keyboard.press("Home")
    for _each in range(3):
        expect(composer(chat)).to_be_focused()
        chat.keyboard.press("Tab")
    expect(composer(chat)).not_to_be_focused()


def test_tables_are_sorted_and_code_is_wrapped_folded_and_downloaded(chat):
    send(chat, f"[[rate=0]] [[text={TABLE}\\n\\n{CODE}]]")
    wait_until_final(chat)
    rows = last_answer(chat).locator("tbody tr")
    chat.locator("chat-transcript").get_by_role("button", name="height").click()
    expect(rows).to_contain_text(["Porto", "Lisbon", "Brest"])
    chat.locator("chat-transcript").get_by_role("button", name="height").click()
    expect(rows.first).to_contain_text("Brest")
    chat.locator("chat-transcript").get_by_role("button", name="height").click()
    expect(rows.nth(1)).to_contain_text("Brest")
    with chat.expect_download() as found:
        last_answer(chat).locator(".table").hover()
        chat.get_by_role("button", name="Download the table as CSV").click()
    assert found.value.path().read_text() == "place,height\nPorto,3.2\nBrest,12.1\nLisbon,3.9"

    # Not folded while it is being read, but when the page is opened again.
    expect(chat.locator(".code.is-folded")).to_have_count(0)
    with chat.expect_download() as found:
        chat.locator(".code").get_by_role("button", name="Download").click()
    assert found.value.suggested_filename == "code.py"
    chat.reload()
    chat.get_by_role("button", name="Show all 70 lines").click()
    expect(chat.locator(".code.is-folded")).to_have_count(0)


def test_an_answer_is_regenerated_with_another_model_and_quoted(chat):
    send(chat, "[[text=first words]]")
    wait_until_final(chat)
    chat.get_by_role("button", name="Regenerate with another model").click()
    chat.get_by_role("menuitem", name="other").click()
    chat.wait_for_selector("article.answer [aria-label='Version 2 of 2']")
    wait_until_final(chat)
    expect(chat.locator("article.answer .meta").last).to_contain_text("other")

    last_answer(chat).click(click_count=3)
    chat.get_by_role("button", name="Quote").click()
    expect(composer(chat)).to_have_value("> first words\n\n")


def test_a_hidden_page_says_that_an_answer_is_complete(chat):
    hidden = "Object.defineProperty(document, '{}', {{ get: () => {}, configurable: true }});"
    chat.evaluate(hidden.format("hidden", "window.isAway"))
    chat.evaluate(hidden.format("visibilityState", "window.isAway ? 'hidden' : 'visible'"))
    chat.evaluate("window.isAway = true")
    send(chat, "[[deltas=3]] hello")
    expect(chat).to_have_title(re.compile("^● "))
    assert "icon_news" in chat.get_attribute("link[rel=icon]", "href")
    chat.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(chat).not_to_have_title(re.compile("^● "))
    assert "icon_news" not in chat.get_attribute("link[rel=icon]", "href")


def test_models_answer_side_by_side_and_the_chosen_one_goes_on(chat):
    chat.click("#models summary")
    chat.get_by_label("Also ask other").check()
    expect(chat.locator("#models summary")).to_have_text("fake + 1")
    chat.keyboard.press("Escape")
    send(chat, "[[deltas=3]] compare")
    choices = chat.get_by_role("button", name="Go on with this answer")
    expect(choices).to_have_count(2)
    first, second = (each.bounding_box() for each in chat.locator("article[data-compared]").all())
    assert second["x"] > first["x"] + first["width"] - 1
    assert second["y"] == first["y"]

    send(chat, "and now?")
    expect(chat.locator(".problem")).to_contain_text("Choose the answer")
    chat.set_viewport_size({"width": 390, "height": 780})
    first, second = (each.bounding_box() for each in chat.locator("article[data-compared]").all())
    assert second["y"] > first["y"] + first["height"] - 1
    assert first["x"] + first["width"] <= 390
    chat.click("#models summary")
    menu = chat.locator("#models .menu-items").bounding_box()
    assert 0 <= menu["x"] < menu["x"] + menu["width"] <= 390
    chat.keyboard.press("Escape")

    choices.nth(1).press("Enter")
    expect(chat.locator("article.answer")).to_have_count(1)
    expect(chat.locator(".versions")).to_contain_text("2/2")
    expect(chat.locator("#models summary")).to_have_text("other")
    composer(chat).press("Enter")
    expect(chat.locator("article.question")).to_have_count(2)
