"""Files in messages that wait for an answer, and in messages that several models answer."""

import base64
import io

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.chat_page import HALF, composer, held_question, last_answer, send, wait_until_final
from tests.support.provider_control import last_body, release, requests_of

pytestmark = pytest.mark.browser


def see(chat, site, **models):
    """Say which models see pictures, and load the page again."""
    code = "from chat.models import Model\n" + "".join(
        f"Model.objects.filter(name={name!r}).update(sees_images={sees})\n" for name, sees in models.items()
    )
    site.server.query(code)
    chat.reload()


def give(chat, name, data, kind="text/plain"):
    chat.set_input_files("#files", {"name": name, "mimeType": kind, "buffer": data})


def png(color):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), color).save(file, "PNG")
    return file.getvalue()


def colors_of(body):
    """Return the colours of the pictures in the last message of a request."""
    parts = body["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    pictures = (Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls)
    return [picture.convert("RGB").getpixel((1, 1)) for picture in pictures]


def ready(chat):
    return chat.locator(".file-chip[data-state=ready]")


def begin_held(chat):
    question, gate = held_question()
    send(chat, question)
    expect(last_answer(chat)).to_contain_text(HALF)
    return gate


def compare(chat):
    chat.click("#models summary")
    chat.get_by_label("Also ask other").check()
    chat.keyboard.press("Escape")


def test_queued_messages_keep_their_files_over_a_reload_and_are_sent_with_them(chat, site):
    see(chat, site, fake=True)
    gate = begin_held(chat)
    give(chat, "red.png", png("red"), "image/png")
    send(chat, "which colour [[text=red]]")  # waits for the upload, then for the answer
    queued = chat.locator(".queued")
    expect(queued).to_contain_text("red.png")
    give(chat, "notes.txt", b"The code is 4711.")
    expect(ready(chat)).to_have_count(1)
    send(chat, "which code [[text=It is 4711.]]")
    expect(queued).to_have_count(2)
    chat.reload()
    expect(queued.first).to_contain_text("red.png")
    expect(queued.last).to_contain_text("notes.txt")
    expect(ready(chat)).to_have_count(0)
    release(site.provider, gate)
    expect(last_answer(chat)).to_have_text("It is 4711.")
    wait_until_final(chat)
    body = last_body(site.provider)
    assert "The code is 4711." in body["messages"][-1]["content"]
    assert colors_of({"messages": body["messages"][:-2]}) == [(255, 0, 0)]
    questions = chat.locator("article.question")
    expect(questions.nth(1).locator(".files img")).to_have_attribute("alt", "red.png")
    expect(questions.nth(2).locator(".files")).to_contain_text("notes.txt")


def test_a_queued_file_without_words_is_sent_too(chat, site):
    see(chat, site, fake=True)
    gate = begin_held(chat)
    give(chat, "blue.png", png("blue"), "image/png")
    expect(ready(chat)).to_have_count(1)
    composer(chat).press("Enter")
    expect(chat.locator(".queued")).to_contain_text("blue.png")
    release(site.provider, gate)
    expect(chat.locator("article.question")).to_have_count(2)
    wait_until_final(chat)
    assert colors_of(last_body(site.provider)) == [(0, 0, 255)]


def test_a_queued_message_that_is_edited_has_its_files_again(chat, site):
    see(chat, site, fake=True)
    gate = begin_held(chat)
    give(chat, "notes.txt", b"The code is 4711.")
    expect(ready(chat)).to_have_count(1)
    send(chat, "wrong words")
    expect(chat.locator(".queued")).to_have_count(1)
    composer(chat).press("ArrowUp")
    expect(chat.locator(".queued")).to_have_count(0)
    expect(ready(chat)).to_contain_text("notes.txt")
    expect(composer(chat)).to_have_value("wrong words")
    send(chat, "which code [[text=4711 it is]]")
    release(site.provider, gate)
    expect(last_answer(chat)).to_have_text("4711 it is")
    assert "The code is 4711." in last_body(site.provider)["messages"][-1]["content"]


def test_a_queued_message_that_is_refused_comes_back_with_its_file(chat, site):
    see(chat, site, fake=True)
    gate = begin_held(chat)
    give(chat, "green.png", png("green"), "image/png")
    expect(ready(chat)).to_have_count(1)
    send(chat, "what is it")
    expect(chat.locator(".queued")).to_have_count(1)
    site.server.query("from chat.models import Model\nModel.objects.update(sees_images=False)")
    release(site.provider, gate)
    expect(chat.locator(".problem")).to_contain_text("cannot see pictures")
    expect(composer(chat)).to_have_value("what is it")
    expect(ready(chat)).to_contain_text("green.png")


def test_models_side_by_side_all_get_the_files_and_the_next_message_has_them_too(chat, site):
    see(chat, site, fake=True, other=True)
    compare(chat)
    give(chat, "red.png", png("red"), "image/png")
    give(chat, "notes.txt", b"The code is 4711.")
    expect(ready(chat)).to_have_count(2)
    send(chat, "what is this [[text=Red, and 4711.]]")
    choices = chat.get_by_role("button", name="Go on with this answer")
    expect(choices).to_have_count(2)
    expect(chat.locator("article.question .files li")).to_have_count(2)
    asked = requests_of(site.provider)[-2:]
    assert {each["model"] for each in asked} == {"fake", "other"}
    assert all("The code is 4711." in each["question"] for each in asked)
    assert colors_of(last_body(site.provider)) == [(255, 0, 0)]
    chat.reload()
    expect(chat.locator("article.question .files li")).to_have_count(2)
    choices.nth(1).click()
    expect(choices).to_have_count(0)
    send(chat, "again [[text=the same]]")
    expect(last_answer(chat)).to_have_text("the same")
    body = last_body(site.provider)
    assert body["model"] == "other"
    assert colors_of({"messages": body["messages"][:-2]}) == [(255, 0, 0)]


def test_side_by_side_with_a_model_that_does_not_see_is_refused_by_name_and_nothing_is_lost(chat, site):
    see(chat, site, fake=True, other=False)
    compare(chat)
    give(chat, "red.png", png("red"), "image/png")
    expect(ready(chat)).to_have_count(1)
    send(chat, "what is this")
    expect(chat.locator(".problem")).to_contain_text("other cannot see pictures")
    expect(composer(chat)).to_have_value("what is this")
    expect(ready(chat)).to_have_count(1)
    expect(chat.locator("article.question")).to_have_count(0)
