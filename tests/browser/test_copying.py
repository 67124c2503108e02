"""Copying gives the Markdown of an answer, and a selection gives its text, without labels of the page."""

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import composer, last_answer, send, wait_until_final
from tests.support.services import PLAIN_HOST

pytestmark = pytest.mark.browser

ANSWER = """# Heading

Some **bold** words and a [link](https://ok.example/path).

```python
print("one")
print("two")
```

1. first
2. second

| a | b |
|---|---|
| 1 | 2 |"""


@pytest.fixture(params=["https", "http"])
def answered(request, page, site):
    """Return a page with ANSWER on it, in a browser that has a clipboard for scripts, and that has none."""
    address = site.server.base_url
    if request.param == "http":
        address = address.replace("127.0.0.1", PLAIN_HOST)
    next(site.sessions).enter(page.context, address)
    page.goto(address)
    assert page.evaluate("'clipboard' in navigator") == (request.param == "https")
    if request.param == "https":  # Chromium takes 127.0.0.1 for as secure
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    send(page, f"[[text={ANSWER}]] the question")
    wait_until_final(page)
    expect(last_answer(page).locator(".code-head")).to_be_visible()
    return page


def pasted(page):
    """Return what is on the clipboard."""
    composer(page).fill("")
    composer(page).press("Control+V")
    return composer(page).input_value()


def test_an_answer_is_copied_as_markdown_and_a_question_as_it_was_sent(answered):
    answered.hover("article.answer")
    answered.click("article.answer [data-action=copy]")
    expect(answered.locator("article.answer .action.is-done")).to_be_visible()
    assert pasted(answered) == ANSWER
    answered.hover("article.question")
    answered.click("article.question [data-action=copy]")
    expect(answered.locator("article.question .action.is-done")).to_be_visible()
    assert pasted(answered) == f"[[text={ANSWER}]] the question"


def test_a_block_of_code_is_copied_without_labels_and_keeps_the_focus(answered):
    button = answered.get_by_role("button", name="Copy", exact=True).and_(
        answered.locator(".code [data-action=copy-code]")
    )
    button.focus()
    button.press("Enter")
    expect(answered.locator(".code [data-action=copy-code]")).to_have_attribute("aria-label", "Copied")
    expect(answered.locator(".code [data-action=copy-code]")).to_be_focused()
    assert pasted(answered) == 'print("one")\nprint("two")'


def test_a_selection_has_no_labels_of_the_page(answered):
    everything = "getSelection().selectAllChildren(document.querySelector('chat-transcript'))"
    answered.evaluate(everything)
    answered.keyboard.press("Control+C")
    copied = pasted(answered)
    assert '.\n\nprint("one")\nprint("two")' in copied.replace("\n\n\n", "\n\n")
    lines = {line.strip() for line in copied.splitlines()}
    assert not lines & {"python", "Python", "Copy", "You", "Answer", "fake"}
    assert "tokens" not in copied
    html = answered.evaluate(
        "(() => { const box = document.createElement('div');"
        f"{everything}; box.append(getSelection().getRangeAt(0).cloneContents());"
        "return box.querySelector('.code').textContent })()"
    )
    assert html.strip() == 'print("one")\nprint("two")'


def test_a_copy_that_fails_says_so_and_can_be_tried_again(answered, site):
    answered.route("**/source/", lambda route: route.abort())
    answered.hover("article.answer")
    copy = answered.locator("article.answer .actions [data-action=copy]")
    copy.click()
    expect(copy).to_have_attribute("title", "Copying failed")
    answered.unroute("**/source/")
    copy.click()
    expect(copy).to_have_attribute("title", "Copied")
    expect(copy).to_have_attribute("title", "Copy")
