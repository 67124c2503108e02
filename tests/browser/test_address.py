"""A page at an address that the server does not know says why nothing can be sent."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import banner
from tests.support.chat_page import send

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("is_staff", [False, True])
def test_an_address_that_the_server_does_not_know_is_named_as_the_cause(page, site, is_staff):
    known = f'data-addresses="{site.server.base_url}"'
    other = f'data-addresses="http://127.0.0.1:1"{" data-staff" if is_staff else ""}'

    def rewrite(route):
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace(known, other))

    next(site.sessions).enter(page.context)
    page.route(site.server.base_url + "/", rewrite)
    page.goto(site.server.base_url)

    expect(banner(page)).to_contain_text("The site does not know the address in your browser")
    assert (f"CHATSITE_PUBLIC_URL={site.server.base_url}" in banner(page).inner_text()) == is_staff
    send(page, "kept")
    expect(page.locator(".pending")).to_contain_text("Not sent yet")
    page.reload()
    expect(page.locator(".pending .bubble")).to_have_text("kept")
