"""Diagrams in Chromium: drawn on a click in a frame that can reach nothing, with the source still there."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import send, wait_until_final

pytestmark = pytest.mark.browser

DIAGRAM = r"```mermaid\ngraph TD\n  A[Start] --> B[<img src=x onerror=parent.hacked=1>]\n```"
BROKEN = r"```mermaid\ngraph TD\n  A --\n```"


def test_a_diagram_is_drawn_on_a_click_beside_its_source(chat):
    loaded, violations = [], []
    chat.on("request", lambda request: loaded.append(request.url))
    chat.on("console", lambda message: violations.append(message.text))
    send(chat, f"[[text={DIAGRAM}]]")
    wait_until_final(chat)
    assert not any("mermaid" in url for url in loaded)

    button = chat.get_by_role("button", name="Show the diagram")
    button.click()
    frame = chat.frame_locator("iframe.diagram")
    expect(frame.locator("svg#diagram")).to_be_visible()
    expect(frame.locator("svg#diagram")).to_contain_text("Start")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(chat.locator(".code pre")).to_be_hidden()
    assert chat.locator("iframe.diagram").bounding_box()["height"] >= 40
    # What is hostile in the source did nothing, and the frame reaches neither the page nor the network.
    assert chat.evaluate("window.hacked") is None
    assert chat.locator("iframe.diagram").get_attribute("sandbox") == "allow-scripts"
    inside = next(each for each in chat.frames if each.url.endswith("/diagram/"))
    reach = "try { parent.document.title } catch (error) { error.name }"
    assert inside.evaluate(f"(() => {{ {reach.replace('{ error.name }', '{ return error.name }')} }})()") == (
        "SecurityError"
    )
    assert inside.evaluate("fetch('/').then(() => 'sent', () => 'refused')") == "refused"
    # The page itself keeps its policy: nothing was refused there.
    assert not [text for text in violations if "style-src" in text or "unsafe-eval" in text]

    button.click()
    expect(chat.locator(".code pre")).to_be_visible()


def test_a_source_that_is_no_diagram_stays_with_the_reason(chat):
    send(chat, f"[[text={BROKEN}]]")
    wait_until_final(chat)
    chat.get_by_role("button", name="Show the diagram").click()
    expect(chat.locator(".diagram-error")).to_contain_text("cannot be drawn")
    expect(chat.locator(".code pre")).to_be_visible()
    expect(chat.locator("iframe.diagram")).to_have_count(0)
