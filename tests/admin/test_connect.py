"""The guided form that connects models, against the fake provider."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from chat.fakeprovider.threaded import ThreadedProvider
from chat.models import Endpoint, Model

KEY = "test-key"
URL = "/admin/chat/endpoint/connect/"


@pytest.fixture(scope="module")
def fake():
    with ThreadedProvider.running(key=KEY) as provider:
        yield provider


@pytest.fixture
def desk(client_of, staff, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return client_of(staff)


def test_the_models_of_an_endpoint_are_found_ticked_and_added(desk, fake):
    values = {"base_url": fake.base_url, "api_key_env": "OPENAI_API_KEY", "name": "Ours"}
    page = desk.post(URL, values | {"look": "1"})
    names = [each.name for each in page.context["found"]]
    assert "fake" in names
    assert not Endpoint.objects.filter(name="Ours").exists()

    done = desk.post(URL, values | {"add": "1", "models": ["fake"], "context:fake": "8192", "prices": "1"})
    endpoint = Endpoint.objects.get(name="Ours")
    assert done.url == reverse("admin:chat_model_changelist", query={"endpoint__id__exact": endpoint.pk})
    added = endpoint.models.get()
    assert (added.name, added.context_tokens, added.is_enabled, added.is_default) == (
        "fake",
        8192,
        True,
        True,
    )

    # Again: what is there is marked, and nothing is stored twice.
    again = desk.post(URL, values | {"look": "1"})
    assert [each.name for each in again.context["found"] if each.is_known] == ["fake"]
    desk.post(URL, values | {"add": "1", "models": ["fake", "other"]})
    assert Endpoint.objects.filter(base_url=fake.base_url).count() == 1
    assert set(endpoint.models.values_list("name", flat=True)) == {"fake", "other"}
    assert Model.objects.filter(is_default=True).count() == 1


def test_published_prices_are_proposed_and_stored_only_if_wanted(desk):
    values = {"base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY", "add": "1"}
    desk.post(URL, values | {"models": ["gpt-4o-mini"], "prices": "1"})
    desk.post(URL, values | {"models": ["gpt-4o"]})
    assert Model.objects.get(name="gpt-4o-mini").has_prices
    assert not Model.objects.get(name="gpt-4o").has_prices
    assert Endpoint.objects.get(base_url=values["base_url"]).name == "api.openai.com"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_url": "ftp://x"}, "Enter a URL such as"),
        ({"base_url": "http://127.0.0.1:1/v1"}, "cannot be reached"),
        ({"api_key_env": ""}, "wants a key"),
        ({"api_key_env": "SECRET_KEY"}, "begins with OPENAI_"),
        ({"api_key_env": "OPENAI_ABSENT"}, "has no such variable"),
        ({"base_url": "/chat/completions"}, "Remove"),
        ({"base_url": "/"}, "answers at another address"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_stored(desk, fake, changes, words):
    values = {"base_url": fake.base_url, "api_key_env": "OPENAI_API_KEY", "name": "x"} | changes
    if values["base_url"].startswith("/"):
        root = fake.url.rstrip("/") if values["base_url"] == "/" else fake.base_url
        values["base_url"] = root + values["base_url"]
    page = desk.post(URL, values | {"look": "1"})
    assert words in page.content.decode()
    assert KEY not in page.content.decode()
    assert not Endpoint.objects.filter(name="x").exists()


@pytest.mark.parametrize("key", ["sk-pasted-by-mistake", "sk-pasted" + "x" * 164])
def test_a_key_instead_of_a_variable_is_explained_and_not_sent_back(desk, fake, key):
    values = {"base_url": fake.base_url, "api_key_env": key, "look": "1"}
    page = desk.post(URL, values).content.decode()
    assert "not the key itself" in page
    assert page.count('class="errorlist"') == 1
    assert "sk-pasted" not in page
    assert f'value="{fake.base_url}"' in page


def test_the_variables_that_hold_a_key_and_the_address_that_answers_are_proposed(desk, fake):
    page = desk.post(
        URL, {"base_url": fake.url, "api_key_env": "OPENAI_API_KEY", "look": "1"}
    ).content.decode()
    assert '<option value="OPENAI_API_KEY">' in page
    assert f'name="base_url" value="{fake.base_url}">Use {fake.base_url}</button>' in page
    # The button comes after the field: its value is the one that counts.
    chosen = {"base_url": [fake.url, fake.base_url], "api_key_env": "OPENAI_API_KEY"}
    assert desk.post(URL, chosen).context["found"]


def test_columns_without_anything_are_left_out(desk, fake):
    page = desk.post(
        URL, {"base_url": fake.base_url, "api_key_env": "OPENAI_API_KEY", "look": "1"}
    ).content.decode()
    assert "Context window" in page
    assert "Published price" not in page
    assert 'name="prices"' not in page


def test_a_model_must_be_ticked_and_a_name_is_taken_once(desk, fake):
    Endpoint.objects.create(name="Ours", base_url="http://127.0.0.1:9/v1")
    values = {"base_url": fake.base_url, "api_key_env": "OPENAI_API_KEY", "name": "Ours"}
    assert "Another endpoint has this name" in desk.post(URL, values | {"add": "1"}).content.decode()
    page = desk.post(URL, values | {"name": "Two", "add": "1", "models": [" "]})
    assert "Tick a model first" in page.content.decode()
    assert not Endpoint.objects.filter(name="Two").exists()


def test_it_takes_the_permission_to_add_both(client_of, db):
    person = User.objects.create_user("half", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="add_endpoint"))
    assert client_of(person).get(URL).status_code == 403
    assert client_of(person).post(URL, {"base_url": "http://127.0.0.1:9/v1", "look": "1"}).status_code == 403


def test_lists_and_the_page_of_an_endpoint_lead_to_it(desk, fake):
    endpoint = Endpoint.objects.create(name="Ours", base_url=fake.base_url, api_key_env="OPENAI_API_KEY")
    for name in ("endpoint", "model"):
        assert f'href="{URL}"' in desk.get(reverse(f"admin:chat_{name}_changelist")).content.decode()
    page = desk.get(reverse("admin:chat_endpoint_change", args=[endpoint.pk])).content.decode()
    link = page.split("Find models")[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&")
    assert desk.get(link).context["form"]["base_url"].value() == fake.base_url
