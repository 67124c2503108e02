"""Pages whose socket a test can cut, silence or change."""

import pytest

from tests.browser.steps import until_connected
from tests.support.chat_page import PageSockets


@pytest.fixture
def sockets(page):
    return PageSockets(page)


@pytest.fixture
def wired(sockets, chat):
    """Return the page of a new user, whose socket goes over `sockets`."""
    until_connected(chat, sockets, 1)
    return chat
