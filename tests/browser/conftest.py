"""Pages whose socket a test can cut, silence or change."""

import pytest

from tests.browser.steps import until_connected
from tests.support.chat_page import Wire


@pytest.fixture
def wire(page):
    return Wire(page)


@pytest.fixture
def wired(wire, chat):
    """Return the page of a new user, whose socket goes over `wire`."""
    until_connected(chat, wire, 1)
    return chat
