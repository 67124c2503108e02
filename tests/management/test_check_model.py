"""`manage.py check_model` and its findings, against the fake provider."""

import json

import pytest
from django.core.management import CommandError, call_command

from chat.fakeprovider.threaded import ThreadedProvider
from chat.management.exits import Exit
from chat.model_check import check
from chat.model_check.at_start import warn_of_wrong_address
from chat.model_check.check import check_model
from chat.models import Endpoint, Model
from chat.upstream.model_list import context_in

KEY = "test-key"


@pytest.fixture
def fake():
    with ThreadedProvider.running(key=KEY) as provider:
        yield provider


@pytest.fixture
def add(db, fake, monkeypatch):
    """Return a function that stores a model of the fake provider."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def make(name="fake", base_url="", **fields):
        endpoint = Endpoint.objects.create(
            name="fake", base_url=base_url or fake.base_url, api_key_env="OPENAI_API_KEY"
        )
        return Model.objects.create(endpoint=endpoint, name=name, **fields)

    return make


def found(report, subject):
    return next(each for each in report.findings if each.subject == subject)


def states(report):
    return {each.subject: str(each.state) for each in report.findings}


def test_a_model_that_accepts_everything_costs_four_calls(add, fake):
    report = check_model(add())

    assert set(states(report).values()) == {"ok", "unknown"}
    assert states(report)["context"] == "unknown"
    assert report.code == ""
    assert len(fake.requests) == 4


def test_what_is_refused_is_found_and_stored(add, fake):
    fake.script("refuse=temperature+max_tokens+system+stream_options+tools+image prefill=reject", times=20)
    model = add(
        max_output_tokens=100, refused_parameters={"logprobs": "earlier", "max_completion_tokens": "x"}
    )

    report = check_model(model)

    refused = {"temperature", "max_tokens", "system", "stream_options"}
    assert {name for name, state in states(report).items() if state == "refused"} == refused | {
        "prefill",
        "tools",
        "images",
    }
    model.refresh_from_db()
    assert set(model.refused_parameters) == refused | {"logprobs"}
    assert report.code == ""


def test_the_context_is_stored_if_the_endpoint_names_it(add):
    model = add("fake-fast", context_tokens=1000)

    check_model(model)

    model.refresh_from_db()
    assert model.context_tokens == 8192


def test_a_base_url_without_v1_is_corrected(add, fake):
    report = check_model(add(base_url=fake.url))

    assert (report.code, found(report, "address").address) == ("wrong_address", fake.base_url)
    assert fake.requests == []


def test_https_on_a_plain_port_is_corrected(add, fake, monkeypatch):
    monkeypatch.setattr(check, "LIST_TIMEOUT_S", 1.0)

    report = check_model(add(base_url=fake.base_url.replace("http:", "https:")))

    assert found(report, "address").address == fake.base_url


def test_a_wrong_key_is_reported_without_a_chat_request(add, fake, monkeypatch):
    model = add()
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")

    report = check_model(model)

    assert (report.code, found(report, "key").state) == ("wrong_key", "failed")
    assert fake.requests == []


def test_a_misspelled_name_gets_proposals(add):
    report = check_model(add("fake-fats"))

    assert "fake-fast" in found(report, "name").text


def test_nothing_is_stored_about_a_model_that_cannot_answer(add):
    model = add("fake-down", refused_parameters={"temperature": "earlier"})

    report = check_model(model)

    model.refresh_from_db()
    assert report.code == "server_error"
    assert model.refused_parameters == {"temperature": "earlier"}


def test_a_check_ends_in_time(add, fake):
    fake.script("silent")

    report = check_model(add(), limit_s=0.5)

    assert report.code
    assert report.refused is None


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        call_command("check_model", *arguments)
    return ended.value.code, capsys.readouterr().out


def test_the_command_prints_aligned_lines(add, capsys):
    code, out = run(capsys, add().full_name)

    assert code == Exit.COMPLETE
    starts = {line.index(" ok ") for line in out.splitlines() if " ok " in line}
    assert len(starts) == 1


def test_the_command_prints_json_and_exits_by_the_kind_of_failure(add, capsys):
    add("fake-down")

    code, out = run(capsys, "fake-down", "--json")

    assert (code, json.loads(out)["can_answer"]) == (Exit.UNAVAILABLE, False)


def test_an_unknown_name_is_refused_with_a_proposal(add):
    add("fake-fast")

    with pytest.raises(CommandError, match="Did you mean 'fake-fast'") as refused:
        call_command("check_model", "fake-fats")

    assert refused.value.returncode == Exit.REFUSED


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        ({"context_length": 131072}, 131072),
        ({"max_model_len": 32768}, 32768),
        ({"context_window": 8192.0}, 8192),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 131072}}, 4096),
        ({"context_length": 200000, "top_provider": {"context_length": 64000}}, 64000),
        ({"max_context_length": 32768, "loaded_context_length": 4096}, 4096),
        ({"capabilities": {"limits": {"max_context_window_tokens": 128000}}}, 128000),
        ({"context_length": True}, None),
        ({"context_length": "large"}, None),
        ({"context_length": -1}, None),
        ({"context_length": float("nan")}, None),
        ({}, None),
    ],
)
def test_the_context_is_read_under_all_its_names(entry, size):
    assert context_in(entry) == size


@pytest.mark.parametrize("is_wrong", [True, False])
async def test_the_start_names_the_right_address(fake, settings, monkeypatch, caplog, is_wrong):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    settings.OPENAI_BASE_URL = fake.url if is_wrong else fake.base_url

    await warn_of_wrong_address()

    assert (f"OPENAI_BASE_URL={fake.base_url}" in caplog.text) == is_wrong
    assert fake.requests == []


async def test_the_start_says_nothing_if_nothing_listens(settings, caplog):
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9"

    await warn_of_wrong_address()

    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_the_admin_checks_a_model_on_request_and_shows_the_report(add, client, staff):
    model = add()
    client.force_login(staff)
    page = client.get(f"/admin/chat/model/{model.pk}/change/").content.decode()
    address = f"/admin/chat/model/{model.pk}/check/"
    assert f'href="{address}"' in page
    assert "This model can answer" not in client.get(address).content.decode()
    report = client.post(address).content.decode()
    assert "This model can answer." in report
    assert "streaming" in report
    assert KEY not in report


def test_only_staff_who_may_change_models_check_them(add, client, django_user_model):
    model = add()
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    client.force_login(viewer)
    assert client.post(f"/admin/chat/model/{model.pk}/check/").status_code == 403
