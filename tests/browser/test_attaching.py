"""Files in Chromium: pasted, dropped and chosen, and nothing lost on the way."""

import base64
import io
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.accessibility import TAGS, findings
from tests.support.chat_page import HALF, composer, held_question, last_answer, wait_until_final
from tests.support.provider_control import last_body, release

pytestmark = pytest.mark.browser

FILE_EVENT = """([type, name, kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: kind }));
  const options = { bubbles: true, cancelable: true };
  const send = (event) => document.getElementById("text").dispatchEvent(event);
  const clipboard = { ...options, clipboardData: transfer };
  if (type === "paste") return void send(new ClipboardEvent("paste", clipboard));
  for (const each of ["dragenter", "dragover", "drop"])
    send(new DragEvent(each, { ...options, dataTransfer: transfer }));
}"""


@pytest.fixture
def seeing(site, chat):
    """Return the page of a new user whose default model sees pictures."""
    site.server.query(
        "from chat.models import Model\nModel.objects.filter(name='fake').update(sees_images=True)"
    )
    chat.reload()
    return chat


def png(color="red", size=(320, 200)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def give(page, how, name, kind, data):
    page.evaluate(FILE_EVENT, [how, name, kind, base64.b64encode(data).decode()])


def chip(page, state="ready"):
    return page.locator(f".file-chip[data-state={state}]")


def test_a_pasted_screenshot_is_asked_about_and_shown(seeing, site):
    give(seeing, "paste", "image.png", "image/png", png())
    expect(chip(seeing)).to_contain_text("tokens")
    composer(seeing).fill("what is on it [[text=A red field.]]")
    composer(seeing).press("Enter")
    expect(last_answer(seeing)).to_have_text("A red field.")
    wait_until_final(seeing)
    expect(chip(seeing)).to_have_count(0)
    request = last_body(site.provider)
    text, picture = request["messages"][-1]["content"]
    assert text["text"].startswith("what is on it")
    data = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 200)
    assert findings(seeing, runOnly={"type": "tag", "values": TAGS}) == []
    for _drawn_by in ("this page", "the server"):
        shown = seeing.locator("article.question .files img")
        expect(shown).to_have_count(1)
        assert shown.evaluate("(each) => each.decode().then(() => each.naturalWidth)") == 320
        seeing.reload()


UPLOADING_SCRIPT = re.compile(r"/attachments\.[^/]*js$")


def test_a_message_waits_for_its_files_while_what_uploads_them_is_loading(seeing):
    held = []
    seeing.route(UPLOADING_SCRIPT, lambda route: held.append(route))
    with seeing.expect_request(UPLOADING_SCRIPT):
        give(seeing, "paste", "image.png", "image/png", png())
    composer(seeing).fill("what is on it [[text=A red field.]]")
    composer(seeing).press("Enter")
    expect(seeing.locator("chat-composer .held")).to_be_visible()
    expect(seeing.locator("article.question")).to_have_count(0)
    held[0].continue_()
    expect(last_answer(seeing)).to_have_text("A red field.")
    expect(seeing.locator("article.question .files img")).to_have_count(1)


def test_a_file_is_kept_when_what_uploads_it_cannot_be_loaded(seeing):
    seeing.route(UPLOADING_SCRIPT, lambda route: route.abort(), times=1)
    give(seeing, "paste", "image.png", "image/png", png())
    expect(seeing.locator("chat-composer .problem")).to_contain_text("interrupted")
    composer(seeing).fill("what is on it [[text=A red field.]]")
    composer(seeing).press("Enter")
    expect(last_answer(seeing)).to_have_text("A red field.")
    expect(seeing.locator("article.question .files img")).to_have_count(1)


def test_an_edited_message_keeps_its_file_and_a_removed_one_is_gone(seeing, site):
    for color in ("green", "blue"):
        give(seeing, "drop", f"{color}.png", "image/png", png(color))
    expect(chip(seeing)).to_have_count(2)
    composer(seeing).fill("two [[text=seen]]")
    composer(seeing).press("Enter")
    wait_until_final(seeing)
    seeing.locator("article.question").hover()
    seeing.locator("[data-action=edit]").first.click()
    expect(chip(seeing)).to_have_count(2)
    seeing.get_by_role("button", name="Remove blue.png").click()
    composer(seeing).fill("only one [[text=seen again]]")
    composer(seeing).press("Enter")
    expect(last_answer(seeing)).to_have_text("seen again")
    request = last_body(site.provider)
    assert len(request["messages"][-1]["content"]) == 2
    expect(seeing.locator("article.question .files img")).to_have_attribute("alt", "green.png")


def test_a_file_can_be_added_while_an_answer_runs_and_a_reload_keeps_it(seeing, site):
    question, gate = held_question()
    composer(seeing).fill(question)
    composer(seeing).press("Enter")
    expect(last_answer(seeing)).to_have_text(HALF)
    seeing.set_input_files(
        "#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"The code is 4711."}
    )
    expect(chip(seeing)).to_contain_text("notes.txt")
    composer(seeing).fill("which code [[text=It is 4711.]]")
    seeing.reload()
    expect(chip(seeing)).to_contain_text("notes.txt")
    expect(composer(seeing)).to_have_value("which code [[text=It is 4711.]]")
    release(site.provider, gate)
    wait_until_final(seeing)
    composer(seeing).press("Enter")
    expect(last_answer(seeing)).to_have_text("It is 4711.")
    request = last_body(site.provider)
    assert "The code is 4711." in request["messages"][-1]["content"]


def test_a_model_that_does_not_see_is_said_at_once_and_nothing_is_lost(chat, site):
    site.server.query("from chat.models import Model\nModel.objects.update(sees_images=False)")
    chat.reload()
    give(chat, "drop", "cat.png", "image/png", png())
    expect(chat.locator(".files-note")).to_contain_text("cannot see pictures")
    composer(chat).fill("what is it")
    composer(chat).press("Enter")
    expect(chat.locator(".problem")).to_contain_text("cannot see pictures")
    expect(composer(chat)).to_have_value("what is it")
    expect(chip(chat)).to_have_count(1)


def test_an_upload_that_fails_can_be_tried_again_and_one_that_is_refused_says_why(seeing):
    seeing.route("**/attachments/?*", lambda route: route.abort())
    give(seeing, "drop", "cat.png", "image/png", png())
    expect(chip(seeing, "failed")).to_contain_text("interrupted")
    composer(seeing).fill("look")
    composer(seeing).press("Enter")
    expect(seeing.locator(".problem")).to_contain_text("could not be attached")
    seeing.unroute("**/attachments/?*")
    seeing.get_by_role("button", name="Try cat.png again").click()
    expect(chip(seeing)).to_have_count(1)
    give(seeing, "drop", "broken.png", "image/png", png()[:60])
    expect(chip(seeing, "failed")).to_have_count(1)
    seeing.set_viewport_size({"width": 390, "height": 740})
    assert findings(seeing, runOnly={"type": "tag", "values": TAGS}) == []
    assert seeing.evaluate("document.documentElement.scrollWidth") == 390
    assert len(chip(seeing, "failed").locator("small").text_content()) > 15
    seeing.get_by_role("button", name="Remove broken.png").click()
    expect(chip(seeing, "failed")).to_have_count(0)
