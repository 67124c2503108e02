"""Steps that several browser tests share."""

import time

from tests.support.programs import until

# Another tab's message counts as abandoned after fifteen seconds.
LATER_S = 20
OUTBOX_SIZE = "Object.keys(localStorage).filter(key => key.includes('outbox')).length"


def until_seen(page, check, what):
    """Wait for a change of `sockets`, which is updated only while Playwright is at work."""
    until(lambda: page.wait_for_timeout(20) or check(), what)


def until_tried(page, sockets, number):
    until_seen(page, lambda: sockets.connections >= number, f"attempt {number} to connect")


def until_connected(page, sockets, number):
    # `watch` is the first frame of each connection.
    until_seen(page, lambda: len(sockets.sent("watch")) >= number, f"connection {number}")


def banner(page):
    return page.locator(".connection")


def another_tab(page, address):
    """Return a new tab whose clock says that messages of other tabs are abandoned."""
    tab = page.context.new_page()
    tab.clock.install(time=time.time() + LATER_S)
    tab.goto(address)
    return tab
