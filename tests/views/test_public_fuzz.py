"""Random addresses, methods, forms and headers for the pages of visitors and users: never a server error."""

import random
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import get_resolver

from chat.models import Conversation

pytestmark = pytest.mark.django_db

SEED = 16
REQUESTS = 250
METHODS = ["GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "get"]
VALUES = [
    *(
        "",
        "0",
        "1",
        "-1",
        "9" * 18,
        "9" * 19,
        "9" * 30,
        "9" * 4500,
        "1.5",
        "x",
        "é",
        "²",
        "١",
        " ",
        "\0",
        "a\0b",
    ),
    *(
        "\ud800",
        "\U0010ffff",
        "\r\nX: y",
        "a" * 3000,
        "a " * 1000,
        "%",
        "%00",
        "%ff",
        "%u0041",
        "..",
        "//",
        "\\",
        "?",
    ),
    *(
        "'",
        '"',
        "<script>",
        "nan",
        "inf",
        "1e400",
        "00000000-0000-0000-0000-000000000000",
        "[[",
        "{}",
        "null",
        "on",
    ),
    *("http://[", "//evil.example", "javascript:alert(1)", "/\0", "1e5"),
]
NAMES = [
    *(
        "q",
        "page",
        "through",
        "before",
        "current",
        "next",
        "theme",
        "model",
        "text",
        "client_id",
        "conversation",
    ),
    *(
        "parent",
        "parent_id",
        "system_prompt",
        "temperature",
        "username",
        "password",
        "password1",
        "password2",
    ),
    *(
        "new_password1",
        "new_password2",
        "old_password",
        "title",
        "name",
        "scopes",
        "expires",
        "language",
        "after",
    ),
]
COOKIES = [
    *(
        "sessionid",
        "csrftoken",
        "messages",
        "theme",
        "sidebar",
        "django_language",
        "=",
        ";;",
        "\xff",
        "a=b; a",
        "\t",
    ),
]
HEADERS = {
    "Accept": ["*/*;q=x", "text/html;q=9999999999", ",,,", "\xff", "a/b;" * 500],
    "Accept-Language": ["x" * 600, "de;q=nan", "*-*;q=1", "\xff", ",".join(["de"] * 500)],
    "Referer": ["http://[", "x" * 9000, "\xff", "//", "http://a:99999999/"],
    "Origin": ["null", "http://[", "x", "http://a:b", "\xff"],
    "HX-Request": ["true", "x"],
    "HX-Current-URL": ["http://[", "\xff", "%ff", "http://testserver/c/x", "//"],
    "HX-Current-URL-URI-AutoEncoded": ["true"],
    "If-Modified-Since": ["x", "Thu, 99 Jan 99999 00:00:00 GMT"],
    "If-None-Match": ["*", '"', "W/"],
    "Range": ["bytes=9-1", "bytes=x"],
    "Accept-Encoding": ["gzip;q=x", "\xff", "*"],
    "X-Forwarded-For": ["x, ,", "::1%x"],
    "Authorization": ["Basic x", "Bearer", "Bearer \xff", "Bearer cs-" + "x" * 3000],
    "Content-Type": [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/json",
        "x",
    ],
    "Expect": ["x"],
}
STATIC_PATHS = [
    "/", "/healthz", "/signin/", "/register/", "/password/", "/password/new/", "/keys/", "/sidebar/",
    "/preferences/", "/ask/", "/signout/", "/v1/models", "/v1/chat/completions", "/v1/openapi.json",
    "/favicon.ico", "/static/", "/static/../x", "/static/%00", "/v1/", "/no/such", "/c/", "//", "/%2e%2e/",
]  # fmt: skip


def encoded(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def patterns(resolver, prefix: str = "/"):
    """Yield the site's URL patterns as text, such as `/c/<uuid:pk>/rename/`, without the admin's."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            if not route.startswith("/admin"):
                yield from patterns(pattern, route)
        else:
            yield route


def address(rng: random.Random, routes: list[str], conversation: Conversation) -> str:
    ids = [str(conversation.pk), str(conversation.leaf_id), *VALUES]
    route = rng.choice(routes + STATIC_PATHS).split("/")
    parts = [encoded(rng.choice(ids)) if part.startswith("<") else part for part in route]
    query = "&".join(f"{rng.choice(NAMES)}={encoded(rng.choice(VALUES))}" for _ in range(rng.randint(0, 3)))
    return "/".join(parts) + (f"?{query}" if query else "")


def request_of(rng: random.Random) -> dict[str, object]:
    """Return the headers and the body of a request."""
    headers = {name: rng.choice(values) for name, values in HEADERS.items() if rng.random() < 0.2}
    if rng.random() < 0.5:
        names = rng.sample(COOKIES, 2)
        values = ["x", "\\000", '"\\000\\377 and more"', "x" * 500, "W10", "[[", "\xff", "9" * 30]
        headers["Cookie"] = "; ".join(f"{name}={rng.choice(values)}" for name in names)
    fields = "&".join(f"{rng.choice(NAMES)}={encoded(rng.choice(VALUES))}" for _ in range(rng.randint(0, 4)))
    body = rng.choice([fields.encode(), b"\xff\xfe\x00", b"--b\r\n\r\n", b"[" * 2000, b""])
    content_type = headers.pop("Content-Type", "application/x-www-form-urlencoded")
    return {"headers": headers, "data": body, "content_type": content_type}


@pytest.mark.parametrize("who", ["visitor", "user"])
def test_no_request_is_a_server_error(who, client, exchange, settings):
    settings.REGISTRATION_IS_OPEN = True
    conversation = exchange().conversation
    conversation.refresh_from_db()
    rng = random.Random(f"{SEED} {who}")
    routes = sorted(set(patterns(get_resolver())) - {"/readyz"})
    for _ in range(REQUESTS):
        browser = client if who == "user" else Client()
        browser.raise_request_exception = False
        method, url, request = rng.choice(METHODS), address(rng, routes, conversation), request_of(rng)
        if "\r" in url or " " in url:
            continue
        response = browser.generic(method, url, **request)
        assert response.status_code < 500, (method, url, request)
