"""Which variables may hold an API key: never a secret of the server, whatever an endpoint names."""

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError

from chat.generation import routing
from chat.models import Endpoint, Model, key_variable

SECRETS = [
    "CHATSITE_SECRET_KEY",
    "CHATSITE_LOCAL_MODEL_KEY",
    "CHATSITE_DATA_DIR",
    "DATABASE_URL",
    "REDIS_URL",
    "DJANGO_SETTINGS_MODULE",
    "DJANGO_SECRET_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "HOME",
    "PGPASSWORD",
    "XOPENAI_API_KEY",
    "CHATSITE_KEY",
]


def endpoint(**fields):
    return Endpoint(name="e", **({"base_url": "https://a.example/v1"} | fields))


@pytest.mark.parametrize("name", SECRETS)
async def test_a_secret_of_the_server_is_never_sent_to_an_endpoint(name, monkeypatch):
    monkeypatch.setenv(name, "the secret")
    route = Model(endpoint=endpoint(api_key_env=name), name="m")
    targets = (await routing.find([route], None)).targets
    assert "the secret" not in repr([(target.api_key, target.base_url) for target in targets])


@pytest.mark.django_db
@pytest.mark.parametrize("name", SECRETS)
def test_the_form_refuses_a_secret_of_the_server(name):
    with pytest.raises(ValidationError, match="CHATSITE_API_KEY_VARIABLES"):
        endpoint(api_key_env=name).full_clean()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_KEY_OF_THE_LAB", "CHATSITE_KEY_MISTRAL"])
def test_variables_for_keys_are_read(name, monkeypatch):
    monkeypatch.setenv(name, " sk-1 ")
    endpoint(api_key_env=name).full_clean()
    assert key_variable.key_of(name) == "sk-1"


def test_the_operator_allows_further_names_and_prefixes(monkeypatch, settings):
    settings.API_KEY_VARIABLES = ["GROQ_API_KEY", "MISTRAL_*"]
    allowed = ["GROQ_API_KEY", "MISTRAL_KEY", "GROQ_API_KEY_2", "AWS_SECRET_ACCESS_KEY"]
    assert [key_variable.is_allowed(name) for name in allowed] == [True, True, False, False]


def test_not_even_the_operator_allows_a_setting_of_this_program(settings):
    settings.API_KEY_VARIABLES = ["CHATSITE_*", "DATABASE_URL", "REDIS_*", "DJANGO_*"]
    names = [*settings.ENVIRONMENT_VARIABLES, "CHATSITE_SECRET", "DJANGO_SETTINGS_MODULE"]
    assert [name for name in names if key_variable.is_allowed(name)] == ["OPENAI_API_KEY"]


def test_every_setting_is_known_to_the_list():
    assert {"CHATSITE_SECRET_KEY", "DATABASE_URL", "REDIS_URL"} <= settings.ENVIRONMENT_VARIABLES


@pytest.mark.django_db
@pytest.mark.parametrize(
    "base_url",
    [
        "https://a.example/v1?api_key=sk-1",
        "https://a.example/v1?",
        "https://a.example/v1#sk-1",
        "https://a.example/v1#",
        "https://sk-1@a.example/v1",
        "https://:sk-1@a.example/v1",
        "https://@a.example/v1",
        "https://a.example/v1 sk-1",
        "https://a.example/v1\tsk-1",
        "https://a.example/v1\u00a0sk-1",
        "https://a.example/v1\nAuthorization: x",
        "https://a.example\\@b.example/v1",
        "https://a.example/v1\x00",
    ],
)
def test_the_form_refuses_an_address_that_may_contain_a_key(base_url):
    with pytest.raises(ValidationError) as refused:
        endpoint(base_url=base_url).full_clean()
    assert list(refused.value.message_dict) == ["base_url"]
