"""The public page of a shared link in Chromium."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import send, wait_until_final

pytestmark = pytest.mark.browser

NOTES = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Cut both at a slant. " * 40}


def test_code_has_its_language_and_the_page_leads_to_the_site(chat):
    send(chat, r"[[rate=0]] [[text=```sql\nSELECT 1\n```]]")
    wait_until_final(chat)
    chat.goto(f"{chat.url.rstrip('/')}/share/")
    chat.get_by_role("button", name="Make a link").click()
    chat.get_by_role("link", name="/s/").first.click()
    label = chat.locator(".code").evaluate("box => getComputedStyle(box, '::before').content")
    assert label == '"sql"'
    expect(chat.get_by_role("link", name="Chatsite")).to_be_visible()


def test_the_files_of_a_question_are_above_its_text(chat):
    chat.set_input_files("#files", NOTES)
    expect(chat.locator(".file-chip[data-state=ready]")).to_have_count(1)
    send(chat, "[[deltas=2]] What is this about?")
    expect(chat.locator("article.answer")).to_have_count(1)
    wait_until_final(chat)
    chat.goto(f"{chat.url.rstrip('/')}/share/")
    chat.get_by_label("Show the files of the messages").check()
    chat.get_by_role("button", name="Make a link").click()
    chat.get_by_role("link", name="/s/").first.click()
    files, text = (chat.locator(f".shared-question {each}").bounding_box() for each in (".files", ".bubble"))
    assert files["y"] + files["height"] <= text["y"]
    assert abs(files["x"] + files["width"] - text["x"] - text["width"]) <= 1
