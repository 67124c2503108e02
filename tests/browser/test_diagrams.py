"""Diagrams in Chromium: drawn on a click in a frame that can reach nothing, with the source still there."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import send, wait_until_final

pytestmark = pytest.mark.browser

DIAGRAM = r"```mermaid\ngraph TD\n  A[Start] --> B[End]\n```"
HOSTILE = r"```mermaid\ngraph TD\n  A[Start] --> B[<img src=x onerror=parent.hacked=1>]\n```"
BROKEN = r"```mermaid\ngraph TD\n  A --\n```"
REACH_THE_PAGE = "(() => { try { return parent.document.title } catch (error) { return error.name } })()"


def draw(page, source):
    send(page, f"[[text={source}]]")
    wait_until_final(page)
    page.get_by_role("button", name="Show the diagram").last.click()


def test_a_diagram_is_drawn_on_a_click_and_its_source_stays(chat):
    loaded = []
    chat.on("request", lambda request: loaded.append(request.url))
    send(chat, f"[[text={DIAGRAM}]]")
    wait_until_final(chat)
    assert not any("mermaid" in url for url in loaded)

    button = chat.get_by_role("button", name="Show the diagram")
    button.click()
    drawing = chat.frame_locator("iframe.diagram").locator("svg#diagram")
    expect(drawing).to_contain_text("Start")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(chat.locator(".code pre")).to_be_hidden()
    assert chat.locator("iframe.diagram").bounding_box()["height"] >= 40
    button.click()
    expect(chat.locator(".code pre")).to_be_visible()

    draw(chat, BROKEN)
    expect(chat.locator(".diagram-error")).to_contain_text("cannot be drawn")
    expect(chat.locator(".code pre").last).to_be_visible()
    expect(chat.locator("iframe.diagram")).to_have_count(1)


def test_a_hostile_source_does_nothing_and_the_frame_reaches_nothing(chromium, site):
    # In a profile of its own: what the policy of the frame refuses is an error elsewhere.
    with chromium.new_context() as context:
        next(site.sessions).enter(context)
        page = context.new_page()
        page.goto(site.server.base_url)
        draw(page, HOSTILE)
        expect(page.frame_locator("iframe.diagram").locator("svg#diagram")).to_contain_text("Start")
        assert page.evaluate("window.hacked") is None
        assert page.locator("iframe.diagram").get_attribute("sandbox") == "allow-scripts"
        frame = next(each for each in page.frames if each.url.endswith("/diagram/"))
        assert frame.evaluate(REACH_THE_PAGE) == "SecurityError"
        assert frame.evaluate("fetch('/').then(() => 'sent', () => 'refused')") == "refused"
