"""Every page is English, whatever the browser asks for: the interface has no other language."""

import re

import pytest
from django.test import Client
from django.urls import reverse

# What differs between any two responses: tokens, nonces, client ids.
RANDOM = re.compile(r'(nonce|value|csrf|content|X-CSRFToken)(=|": )"[\w+/=-]{10,}"')


PAGES = [
    "chat",
    "sidebar",
    "api_keys",
    "password_change",
    "signin",
    "admin:index",
    "admin:chat_model_changelist",
]
FORMS = ["password_change", "signin"]
WRONG = {"username": "x", "old_password": "x", "new_password1": "1", "new_password2": "2"}


def texts(language, clients):
    """Return what pages of each kind answer to browsers that ask for this language."""
    headers = {"accept-language": f"{language},*;q=0.5"}
    responses = []
    for client in clients:
        client.cookies["django_language"] = language
        responses += [client.get(reverse(name), headers=headers) for name in PAGES]
        responses += [client.post(reverse(name), WRONG, headers=headers) for name in FORMS]
        responses.append(client.get("/no/such/page/", headers=headers))
    return [RANDOM.sub("", response.content.decode()) for response in responses]


@pytest.mark.parametrize("language", ["ja", "fr", "zh-CN", "ar", "de-AT"])
def test_pages_are_english_whatever_the_browser_asks_for(client, client_of, staff, exchange, language):
    exchange()
    clients = [client, client_of(staff), Client()]
    english = texts("en", clients)

    assert texts(language, clients) == english
    for page in english:
        assert "<html" not in page or '<html lang="en' in page
    assert "Today" in english[0]
