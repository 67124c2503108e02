"""The table of execution patterns, and the limits on the Operations page."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation, Endpoint, Generation
from chat.usage import patterns

URL = "/admin/chat/process/patterns/"


@pytest.fixture
def desk(client_of, staff):
    return client_of(staff)


def logged(user, model, source, *, end_s=2.0, first_s=0.5, age=timedelta(0), client_id="", **fields):
    """Store a final answer."""
    asked_at = timezone.now() - age
    accepted = Conversation.ask(
        user, "?", client_id=client_id or f"c{Generation.objects.count()}", model_id=model.pk, source=source
    )
    values = {
        "status": "completed",
        "created_at": asked_at,
        "first_delta_at": asked_at + timedelta(seconds=first_s),
        "finished_at": asked_at + timedelta(seconds=end_s),
        "output_tokens": 30,
        "cost_usd": Decimal("0.01"),
    }
    Generation.objects.filter(pk=accepted.generation_id).update(**values | fields)


@pytest.fixture
def free_of_limits(settings):
    settings.ASKS_PER_MINUTE = 1000


def row_of(html, label):
    row = re.search(rf'<th scope="row">{label}</th>(.*?)</tr>', html, re.S).group(1)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip()


def test_without_answers_it_shows_that_there_are_no_records(desk):
    html = desk.get(URL).content.decode()

    for pattern in patterns.ALL:
        assert row_of(html, pattern.label).startswith("no data yet")
        assert str(pattern.best_for) in row_of(html, pattern.label)


def test_each_pattern_is_measured_from_its_own_answers(desk, user, model, free_of_limits):
    for end_s in (1, 2, 3):
        logged(user, model, "websocket", end_s=end_s)
    logged(user, model, "form", end_s=9, first_s=8, status="failed")
    logged(user, model, "command", end_s=4)
    logged(user, model, "command", end_s=6, client_id=f"{patterns.ASYNC_COMMAND}1")
    logged(user, model, "api", end_s=6)

    html = desk.get(URL).content.decode()

    assert row_of(html, "streaming").startswith("4 1 0.5 s / 0.5 s 2.0 s / 3.0 s 20 $0.0300")
    assert row_of(html, "sync").startswith("1 0 4.0 s / 4.0 s 4.0 s / 4.0 s 9 $0.0100")
    assert row_of(html, "async").startswith("2 0 6.0 s / 6.0 s")
    assert row_of(html, "batch").startswith("no data yet")


def test_stopped_running_and_old_answers_do_not_count(desk, user, model, free_of_limits):
    logged(user, model, "form", status="stopped")
    logged(user, model, "form", status="running", finished_at=None)
    logged(user, model, "form", age=timedelta(days=10))

    assert row_of(desk.get(URL).content.decode(), "streaming").startswith("no data yet")
    assert row_of(desk.get(URL, {"days": "30"}).content.decode(), "streaming").startswith("1 0")
    assert row_of(desk.get(URL, {"days": "x"}).content.decode(), "streaming").startswith("no data yet")


def test_a_cost_is_not_shown_if_one_price_is_unknown(desk, user, model):
    logged(user, model, "form")
    logged(user, model, "form", cost_usd=None)

    assert "$" not in row_of(desk.get(URL).content.decode(), "streaming")


def test_only_the_newest_answers_are_read(monkeypatch, user, model, django_assert_num_queries):
    monkeypatch.setattr(patterns, "ROWS_MAX", 2)
    logged(user, model, "form", end_s=100)
    logged(user, model, "form", end_s=1)
    logged(user, model, "form", end_s=1)

    with django_assert_num_queries(1):
        found = patterns.from_logs(7)[patterns.STREAMING]

    assert (found.answers, found.end_p95_s) == (2, 1)


def test_staff_who_may_not_view_processes_are_refused(client_of, db):
    reviewer = User.objects.create_user("vera", password="x", is_staff=True)
    assert client_of(reviewer).get(URL).status_code == 403
    reviewer.user_permissions.set(Permission.objects.filter(codename="view_process"))
    assert client_of(reviewer).get(URL).status_code == 200


def test_the_operations_page_links_to_it_and_shows_where_each_limit_is_set(desk, model, settings):
    settings.RUNNING_PER_USER, settings.RUNNING_PER_KEY = 17, 29
    Endpoint.objects.update(slots=23)

    html = desk.get(reverse("admin:chat_process_operations")).content.decode()

    assert f'href="{URL}"' in html
    limits = html[html.index('id="limits"') :]
    assert reverse("admin:chat_endpoint_change", args=[model.endpoint.pk]) in limits
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", limits))
    assert "slots of nowhere 23 endpoint page" in text
    assert "running answers 17 CHATSITE_RUNNING_PER_USER" in text
    assert "29 CHATSITE_RUNNING_PER_KEY" in text


@pytest.mark.parametrize(("percent", "expected"), [(50, 10), (95, 19), (100, 20), (1, 1)])
def test_a_percentile_is_one_of_the_values(percent, expected):
    assert patterns.percentile(range(1, 21), percent) == expected


def test_without_samples_there_is_no_result():
    assert patterns.measure([]) is None
    assert patterns.percentile([], 50) is None
