"""Random addresses and forms for every page of the admin: whatever staff send, it is never a server error."""

import random
from urllib.parse import quote

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from chat.models import Endpoint, Message, WebhookEndpoint
from tests.support.environment import repeats
from tests.support.runtime import running_generation

pytestmark = pytest.mark.django_db

SEED = 16
# The seed is fixed; raise this for a longer run.
ROUNDS = repeats(40)
MODELS = [model for model in apps.get_models() if admin.site.is_registered(model)]
VALUES = [
    *(
        "99999",
        "0",
        "-1",
        "1",
        "x",
        "",
        " ",
        "é",
        "%",
        "_",
        "'",
        '"',
        "\\",
        "(",
        "[",
        "*",
        "nan",
        "inf",
        "1e400",
    ),
    *(
        "9" * 30,
        "-" + "9" * 30,
        "9" * 5000,
        "1.5",
        "0x10",
        "١",
        "²",
        "true",
        "None",
        "null",
        "a,b",
        "1,2,x",
        ",",
    ),
    *(
        "\0",
        "a\0b",
        "\ud800",
        "\U0010ffff",
        "\x1b",
        "\r\n",
        "a" * 3000,
        "a " * 1500,
        "../..",
        "<script>",
        "{}",
        "[]",
    ),
    *(
        "9999-12-31",
        "10000-01-01",
        "0000-00-00",
        "2026-02-30",
        "2026-01-01T25:00",
        "-infinity",
        "9999-12-31 23:59:59+23:59",
    ),
    *("0001-01-01", "0001-01-01 00:00:00+14:00", "00000000-0000-0000-0000-000000000000", "g" * 36, "(a+)+$"),
]
LOOKUPS = [
    *(
        "",
        "exact",
        "iexact",
        "year",
        "month",
        "day",
        "week",
        "week_day",
        "iso_year",
        "quarter",
        "date",
        "time",
        "hour",
    ),
    *(
        "gt",
        "gte",
        "lt",
        "lte",
        "in",
        "range",
        "isnull",
        "contains",
        "icontains",
        "startswith",
        "endswith",
        "search",
    ),
    *(
        "regex",
        "iregex",
        "id__exact",
        "pk",
        "pk__in",
        "unknown",
        "year__gte",
        "date__lt",
        "second__in",
        "trunc",
    ),
]
SPECIAL = [
    "q",
    "o",
    "p",
    "all",
    "e",
    "_popup",
    "_to_field",
    "page",
    "message",
    "deleted",
    "days",
    "_changelist_filters",
]
ACTIONS = ["delete_selected", "stop", "revoke", "renew", "unknown", ""]


def encoded(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def query(rng: random.Random, model: type) -> str:
    fields = [field.name for field in model._meta.get_fields()]
    names = []
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(fields)
        if rng.random() < 0.2:
            path += "__" + rng.choice(["id", "name", "user__username", "message__text", "created_at"])
        lookup = rng.choice(LOOKUPS)
        names.append(rng.choice(SPECIAL) if rng.random() < 0.25 else f"{path}__{lookup}" if lookup else path)
    return "&".join(f"{encoded(name)}={encoded(rng.choice(VALUES))}" for name in names)


@pytest.fixture
def desk(staff, client_of, user, model) -> Client:
    generation = running_generation(user, model)
    Message.objects.create(conversation=generation.message.conversation, role="user", text="x")
    WebhookEndpoint.objects.create(url="https://a.example/")
    Endpoint.objects.create(name="e2", base_url="https://a.example/v1")
    client = client_of(staff)
    client.raise_request_exception = False
    return client


def name_of(model: type) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


@pytest.mark.parametrize("model_class", MODELS, ids=name_of)
def test_no_address_of_a_list_is_a_server_error(desk, model_class):
    rng = random.Random(f"{SEED} {name_of(model_class)}")
    url = reverse(f"admin:{name_of(model_class)}_changelist")
    for _ in range(ROUNDS):
        address = f"{url}?{query(rng, model_class)}"
        assert desk.get(address).status_code in {200, 302, 400, 403}, address


FILTERS = {
    "__year": "99999", "__month": "99", "__day": "9" * 30, "__in": "x,9", "__gte": "10000-01-01",
    "__lt": "\0", "__regex": "(", "__isnull": "x", "__exact": "9" * 30, "__range": "1",
    "__contains": "\ud800",
}  # fmt: skip


@pytest.mark.parametrize("model_class", MODELS, ids=name_of)
def test_a_filter_of_each_field_is_no_server_error(desk, model_class):
    rng = random.Random(f"{SEED} {name_of(model_class)} filters")
    url = reverse(f"admin:{name_of(model_class)}_changelist")
    for field in model_class._meta.get_fields():
        lookup, value = rng.choice(list(FILTERS.items()))
        address = f"{url}?{field.name}{lookup}={encoded(value)}"
        assert desk.get(address).status_code in {200, 302, 400, 403}, address


@pytest.mark.parametrize("model_class", MODELS, ids=name_of)
def test_no_id_in_an_address_is_a_server_error(desk, model_class):
    url = reverse(f"admin:{name_of(model_class)}_changelist")
    rng = random.Random(f"{SEED} {name_of(model_class)} ids")
    for value in rng.sample([value for value in VALUES if value.strip()], ROUNDS):
        page = rng.choice(["change/", "delete/", "history/", "", "password/"])
        address = f"{url}{encoded(value)}/{page}"
        assert desk.get(address).status_code < 500, address


@pytest.mark.parametrize("model_class", MODELS, ids=name_of)
def test_no_action_is_a_server_error(desk, model_class):
    rng = random.Random(f"{SEED} {name_of(model_class)} actions")
    url = reverse(f"admin:{name_of(model_class)}_changelist")
    for _ in range(ROUNDS // 2):
        data = {
            "action": rng.choice(ACTIONS),
            "index": rng.choice(["0", "1", "x", "9" * 30, ""]),
            "select_across": rng.choice(["0", "1", "x", "9" * 30]),
            "_selected_action": [encodable(rng.choice(VALUES)) for _ in range(rng.randint(0, 3))],
        }
        assert desk.post(f"{url}?{query(rng, model_class)}", data).status_code < 500, data


@pytest.mark.parametrize("model_class", MODELS, ids=name_of)
def test_no_form_is_a_server_error(desk, model_class):
    rng = random.Random(f"{SEED} {name_of(model_class)} forms")
    url = reverse(f"admin:{name_of(model_class)}_changelist") + "add/"
    names = [field.name for field in model_class._meta.fields]
    for prefix in ("", "fallbacks-0-"):
        for _ in range(ROUNDS // 4):
            data = {prefix + name: encodable(rng.choice(VALUES)) for name in names}
            data |= {
                f"fallbacks-{name}_FORMS": rng.choice([*VALUES[:8], "9" * 30])
                for name in ("TOTAL", "INITIAL")
            }
            assert desk.post(url, data).status_code < 500, data


def test_no_address_of_another_page_is_a_server_error(desk):
    rng = random.Random(SEED)
    pages = [
        "/admin/", "/admin/autocomplete/", "/admin/jsi18n/", "/admin/r/1/x/", "/admin/chat/process/patterns/",
        "/admin/chat/process/operations/", "/admin/password_change/", "/admin/login/", "/admin/no/such/",
    ]  # fmt: skip
    names = ["app_label", "model_name", "field_name", "term", "page", "days", "still", "next", "q"]
    known = {"app_label": "chat", "model_name": "fallback", "field_name": "fallback"}
    for page in pages:
        for _ in range(ROUNDS // 3):
            values = {name: rng.choice(VALUES) for name in names}
            values |= known if rng.random() < 0.7 else {}
            address = f"{page}?" + "&".join(f"{name}={encoded(value)}" for name, value in values.items())
            assert desk.get(address).status_code < 500, address


def test_a_wrong_filter_gets_a_page_that_says_so(desk):
    response = desk.get(reverse("admin:chat_conversation_changelist") + "?created_at__year=99999")
    assert (response.status_code, "Bad request" in response.content.decode()) == (400, True)


def encodable(value: str) -> str:
    """Return what a browser can send in a form."""
    return value.replace("\ud800", "\ufffd")
