"""Error pages: helpful, without a traceback, working during an outage."""

import pytest
from django.test import Client, RequestFactory
from django.urls import include, path

from chat.views import errors, origins


def crash(request):
    raise RuntimeError("a secret of the program")


urlpatterns = [path("crash/", crash), path("", include("chatsite.urls"))]
handler500 = "chat.views.errors.server_error"


def test_a_missing_page_says_so(client, db):
    response = client.get("/no/such/page/")

    assert response.status_code == 404
    assert "Page not found" in response.content.decode()


def test_a_wrong_host_names_the_setting_to_check(client, db):
    response = client.get("/signin/", headers={"host": "evil.example"})

    assert response.status_code == 400
    assert "CHATSITE_ALLOWED_HOSTS" in response.content.decode()


def test_a_form_with_an_old_csrf_token_asks_for_a_reload(db):
    response = Client(enforce_csrf_checks=True).post("/signin/", {"username": "ada"})

    assert response.status_code == 403
    assert "Reload and try again" in response.content.decode()


def refused(settings, public_url="", **headers):
    settings.PUBLIC_URL = public_url
    response = Client(enforce_csrf_checks=True).post("/signin/", {"username": "ada"}, headers=headers)
    assert response.status_code == 403
    return response.content.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://testserver"},
        {"origin": "https://testserver", "sec-fetch-site": "same-origin"},
        {"origin": "https://chat.example.org", "sec-fetch-site": "same-origin"},
    ],
)
def test_a_form_behind_a_proxy_that_ends_tls_names_the_setting(db, settings, caplog, monkeypatch, headers):
    monkeypatch.setattr(origins, "reported", set())
    page = refused(settings, **headers)
    assert "Reloading will not help" in page
    assert f"CHATSITE_PUBLIC_URL={headers['origin']}" in page
    assert "set CHATSITE_PUBLIC_URL" in caplog.text
    assert "https://right.example/" in refused(settings, "https://right.example", **headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example"},
        {"origin": "null", "sec-fetch-site": "same-origin"},
    ],
)
def test_any_other_refused_form_asks_for_a_reload_and_shows_no_foreign_address(db, settings, caplog, headers):
    page = refused(settings, **headers)
    assert "Reload and try again" in page
    assert "evil.example" not in page
    assert "CHATSITE_PUBLIC_URL" not in page + caplog.text


def test_a_crash_shows_no_traceback_and_queries_no_database(settings):
    # No `db` fixture: a query would fail this test.
    settings.ROOT_URLCONF = __name__
    response = Client(raise_request_exception=False).get("/crash/")

    assert response.status_code == 500
    assert "Something went wrong" in response.content.decode()
    assert "secret" not in response.content.decode()


def test_a_crash_is_answered_even_if_no_template_can_be_rendered(settings, tmp_path):
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path], "APP_DIRS": False}]

    response = errors.server_error(RequestFactory().get("/"))

    assert response.status_code == 500
    assert b"try again" in response.content
