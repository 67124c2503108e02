"""Sorting conversations in Chromium: drag onto a project, the same by keyboard, tags, bookmarks."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import send, wait_until_final

pytestmark = pytest.mark.browser


def test_conversations_are_moved_by_drag_and_by_key_tagged_and_bookmarked(chat):
    for text in ("[[deltas=2]] apples", "[[deltas=2]] pears"):
        chat.goto(chat.url.split("/c/")[0])
        send(chat, text)
        wait_until_final(chat)
    rows = chat.locator(".conversation-item")
    expect(rows).to_have_count(2)

    # By keyboard, into a new project, which then is in the sidebar.
    rows.filter(has_text="apples").locator("a").first.focus()
    chat.keyboard.press("m")
    chat.get_by_label("Or a new project").fill("Fruit")
    chat.keyboard.press("Enter")
    projects = chat.locator("#projects")
    expect(projects).to_be_visible()
    expect(projects.locator("a")).to_be_hidden()

    # By drag: the projects open for it.
    source = rows.filter(has_text="pears")
    source.hover(position={"x": 40, "y": 10})
    chat.mouse.down()
    source.hover(position={"x": 60, "y": 20}, force=True)
    expect(projects.locator("a")).to_be_visible()
    target = projects.locator("a").bounding_box()
    chat.mouse.move(target["x"] + 30, target["y"] + 10)
    chat.mouse.move(target["x"] + 31, target["y"] + 10)
    expect(projects.locator(".is-over")).to_have_count(1)
    chat.mouse.up()
    expect(chat.locator(".toast")).to_have_text("Moved to Fruit")
    chat.locator("#search").fill("in:fruit")
    expect(rows).to_have_count(2)
    chat.locator("#search").fill("")

    rows.filter(has_text="pears").locator(".options-button").click()
    chat.get_by_role("link", name="Tags").click()
    chat.get_by_label("Tags, separated by commas").fill("green")
    chat.keyboard.press("Enter")
    expect(chat.get_by_role("dialog")).to_be_hidden()
    chat.locator("#search").fill("tag:green")
    expect(rows).to_have_count(1)

    bookmark = chat.locator("article.answer").get_by_role("button", name="Bookmark")
    bookmark.click()
    expect(bookmark).to_have_attribute("aria-pressed", "true")
    chat.goto(chat.url.split("/c/")[0] + "/bookmarks/")
    expect(chat.locator(".bookmarks li")).to_have_count(1)
    chat.locator(".bookmarks .title").click()
    expect(chat.locator("article.answer")).to_be_visible()


def test_the_menu_of_a_conversation_by_keyboard_and_by_mouse(chat):
    send(chat, "[[deltas=2]] plums")
    wait_until_final(chat)
    link = chat.locator(".conversation-item > a")
    button = chat.get_by_role("button", name="Options for")
    menu = chat.locator("#options")
    chat.route("**/options.*.js", lambda route: route.abort())
    link.hover()
    button.click()
    expect(chat.locator(".connection")).to_contain_text("could not be loaded")
    chat.unroute("**/options.*.js")

    link.focus()
    chat.keyboard.press("Tab")
    chat.keyboard.press("Enter")
    expect(menu.get_by_role("link", name="Rename")).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "true")
    chat.keyboard.press("ArrowUp")
    expect(menu.get_by_role("button", name="Delete")).to_be_focused()
    chat.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(button).to_be_focused()

    button.click()
    expect(menu).to_be_visible()
    button.click()
    expect(menu).to_be_hidden()
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    menu.get_by_role("button", name="Pin", exact=True).click()
    expect(chat.get_by_role("heading", name="Pinned")).to_be_visible()
    link.hover()
    button.click()
    expect(menu.get_by_role("button", name="Unpin")).to_be_visible()
    chat.locator("#text").click()
    expect(menu).to_be_hidden()
