"""Error pages: helpful, without a traceback, working during an outage."""

from django.test import Client, RequestFactory
from django.urls import include, path

from chat.views import errors


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
