"""A conversation that is longer than a page: a search leads to the message, and paper shows all of it."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

MESSAGES = 120
STORED = """
from django.contrib.auth.models import User
from chat.models import Conversation
for user in User.objects.filter(username__startswith="user"):
    conversation = Conversation.objects.create(user=user, title="A long one")
    parent = None
    for n in range({count}):
        role = "assistant" if n % 2 else "user"
        text = "the Needle " + "word " * 200 if n == 20 else f"message {{n}}"
        parent = conversation.messages.create(role=role, text=text, parent=parent)
    conversation.leaf = parent
    conversation.save()
"""


@pytest.fixture(scope="module")
def stored(site):
    site.server.query(STORED.format(count=MESSAGES))


def test_a_search_result_opens_the_message_that_was_found(stored, chat):
    chat.get_by_label("Search conversations").fill("needle")
    chat.locator(".conversation-item .snippet").click()
    expect(chat).to_have_url(re.compile(r"\?until=\d+#m\d+$"))
    expect(chat.locator("article:target")).to_contain_text("the Needle")
    expect(chat.locator("article:target")).to_be_in_viewport()
    chat.get_by_role("link", name="Back to the latest messages").click()
    expect(chat.locator("article").last).to_contain_text(f"message {MESSAGES - 1}")


def test_the_whole_conversation_is_there_when_it_is_printed(stored, chat):
    chat.locator(".conversation-title").click()
    expect(chat.locator("article").last).to_contain_text(f"message {MESSAGES - 1}")
    chat.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert chat.locator("article").count() == MESSAGES
    assert chat.locator("article").first.locator(".bubble").text_content() == "message 0"
