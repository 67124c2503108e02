"""Base URLs that end with the path of a request."""

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError

from chat.models.catalog import validate_base_url
from chat.upstream.base_url import without_ending
from chatsite.env import Environment

PASTED = [
    ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1"),
    ("https://api.example.org/v1/Chat/Completions/", "https://api.example.org/v1"),
    ("https://api.example.org/v1/completions", "https://api.example.org/v1"),
    ("https://api.example.org/v1/responses", "https://api.example.org/v1"),
    ("http://127.0.0.1:11434/v1/models", "http://127.0.0.1:11434/v1"),
]
RIGHT = ["https://api.example.org/v1", "https://example.org/models/v1", "http://127.0.0.1:8000/my-models"]


@pytest.mark.parametrize(("pasted", "right"), PASTED)
def test_the_path_of_a_request_is_refused_and_the_right_url_named(pasted, right):
    assert without_ending(pasted) == right
    with pytest.raises(ValidationError, match=right):
        validate_base_url(pasted)
    with pytest.raises(ImproperlyConfigured, match=f"OPENAI_BASE_URL={right}"):
        Environment({"OPENAI_BASE_URL": pasted}).base_url("OPENAI_BASE_URL")


@pytest.mark.parametrize("url", RIGHT)
def test_a_base_url_is_kept_as_it_is(url):
    validate_base_url(url)
    assert Environment({"OPENAI_BASE_URL": url}).base_url("OPENAI_BASE_URL") == url


@pytest.mark.parametrize("ending", ["?api-version=1", "#key"])
def test_a_query_or_fragment_in_the_environment_is_refused_without_showing_it(ending):
    with pytest.raises(ImproperlyConfigured) as refused:
        Environment({"OPENAI_BASE_URL": f"https://example.org/v1{ending}"}).base_url("OPENAI_BASE_URL")
    assert ending[1:] not in str(refused.value)


def test_credentials_in_a_refused_url_are_not_shown():
    url = "https://ada:secret@example.org/v1/models"
    with pytest.raises(ImproperlyConfigured) as refused:
        Environment({"OPENAI_BASE_URL": url}).base_url("OPENAI_BASE_URL")
    assert "secret" not in str(refused.value)
