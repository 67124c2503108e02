"""Usage: added up by the hour from every call, and shown to users and to staff."""

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.models import ApiKey, Attempt, Budget, EmbeddingCall, HourlyUsage
from chat.models.budget import presence
from chat.usage import hourly
from chat.usage.periods import chosen_period
from chat.usage.report import UsageFilter, UsagePeriod, read_usage
from tests.support.runtime import owned_by

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=timezone.get_default_timezone())
CALL = {"model_name": "m", "input_tokens": 100, "output_tokens": 20, "cost_usd": Decimal("0.01")}


@pytest.fixture
def calls(user, other_user, model):
    """Store answers with calls of two users, one with a key, one cut and estimated, and embeddings."""

    def answer(owner, moment, *calls, **fields):
        row = owned_by(owner, model, "", status="completed", finished_at=moment, model_name="m", **fields)
        for number, call in enumerate(calls, 1):
            Attempt.objects.create(generation=row, number=number, **(CALL | call))

    key, _secret = ApiKey.make(user, "=report")
    estimated = {"is_usage_estimated": True, "cached_tokens": 40, "reasoning_tokens": 5}
    answer(user, NOW - timedelta(days=1), {}, source="websocket")
    answer(user, NOW, estimated, {"model_name": "fallback"}, source="api", api_key=key)
    answer(other_user, NOW, {"cost_usd": None}, source="batch")
    EmbeddingCall.objects.create(
        user=user,
        api_key=key,
        model_name="e",
        inputs=2,
        calls=1,
        input_tokens=7,
        cost_usd=Decimal("0.001"),
        duration_s=0.1,
        created_at=NOW,
    )
    hourly.catch_up(NOW)
    return key


PERIOD = UsagePeriod(date(2026, 3, 9), date(2026, 3, 10))


def test_every_call_counts_once_at_its_own_model(calls, user):
    report = read_usage(PERIOD, UsageFilter())
    assert (report.total.answers, report.total.calls) == (3, 5)
    assert report.total.tokens == 4 * 120 + 7
    assert report.total.cost_usd == Decimal("0.031")
    assert (report.total.estimated_tokens, report.total.unpriced_calls) == (120, 1)
    assert [sums.calls for sums in report.days.values()] == [1, 4]
    hourly.catch_up(NOW + timedelta(minutes=1))
    assert read_usage(PERIOD, UsageFilter()).total == report.total
    models = {part.key: part.sums.calls for part in report.by("model")}
    assert models == {"m": 3, "fallback": 1, "e": 1}
    sources = {part.key: part.sums.answers for part in report.by("source")}
    assert sources == {"websocket": 1, "api": 1, "batch": 1, "embeddings": 0}
    keys = {part.key: part.sums.calls for part in report.by("key")}
    assert keys == {calls.pk: 3, None: 2}


def test_members_of_groups_are_added_up_and_deleted_users_stay(calls, user, other_user):
    group = Group.objects.create(name="class")
    user.groups.add(group, Group.objects.create(name="other"))
    found = {part.name: part.sums.calls for part in read_usage(PERIOD, UsageFilter()).by("group")}
    assert found == {"class": 4, "other": 4, "": 1}
    assert read_usage(PERIOD, UsageFilter(group_id=group.pk)).total.calls == 4
    other_user.delete()
    assert read_usage(PERIOD, UsageFilter()).total.calls == 5
    assert None in {part.key for part in read_usage(PERIOD, UsageFilter()).by("user")}


def test_answers_of_before_the_table_are_added_up_from_the_first_on(calls):
    before = read_usage(PERIOD, UsageFilter()).total
    HourlyUsage.objects.all().delete()
    assert not hourly.catch_up(NOW, spans_max=1)
    assert hourly.catch_up(NOW)
    assert read_usage(PERIOD, UsageFilter()).total == before


@pytest.mark.parametrize(
    ("query", "first", "last", "problem"),
    [
        ({}, "2026-02-09", "2026-03-10", ""),
        ({"period": "7"}, "2026-03-04", "2026-03-10", ""),
        ({"period": "last-month"}, "2026-02-01", "2026-02-28", ""),
        ({"since": "2026-01-01", "until": "2026-01-31"}, "2026-01-01", "2026-01-31", ""),
        ({"until": "2026-01-31"}, "2026-01-01", "2026-01-31", ""),
        ({"since": "x"}, "2026-02-09", "2026-03-10", "Enter dates"),
        ({"since": "2026-03-10", "until": "2026-03-09"}, "2026-02-09", "2026-03-10", "is after the last"),
        ({"since": "2020-01-01"}, "2026-02-09", "2026-03-10", "at most 400 days"),
        ({"period": "<b>"}, "2026-02-09", "2026-03-10", ""),
    ],
)
def test_a_period_is_taken_from_the_address_or_refused_in_words(query, first, last, problem):
    chosen = chosen_period(query, date(2026, 3, 10))
    assert (str(chosen.period.first), str(chosen.period.last)) == (first, last)
    assert problem in chosen.problem
    assert bool(problem) == bool(chosen.problem)


# -- for users ----------------------------------------------------------------------------------------

DAYS = {"since": "2026-03-09", "until": "2026-03-10"}


def test_users_see_their_own_usage_and_what_remains(calls, user, client_of):
    Budget.objects.create(scope="user", user=user, unit="tokens", amount=1_000)
    presence.note(any_exist=False)
    html = client_of(user).get(reverse("usage"), DAYS).content.decode()
    for text in ("≈ $0.0310", "≈ 367", "40 of the input from a cache", "fallback", "embeddings", "=report"):
        assert text in html
    assert "0 of 1,000 tokens used, 1,000 tokens left." in html
    assert '<svg viewBox="0 0 600 141" role="img" aria-label="Cost.' in html
    assert "style=" not in html
    budget = Budget.objects.get()
    budget.uses.create(starts_on=budget.starts_on(), member=budget.member(user.pk), used=100, reserved=300)
    html = client_of(user).get(reverse("usage"), DAYS).content.decode()
    assert "used, answers in progress may take 300 tokens, 600 tokens left." in html


def test_an_empty_period_says_so(user, client_of):
    html = client_of(user).get(reverse("usage")).content.decode()
    assert "You have used nothing in this period." in html
    assert '<svg viewBox="0 0 600' not in html


def test_the_download_has_every_number_and_no_formula(calls, user, client_of):
    response = client_of(user).get(reverse("usage_download"), DAYS)
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["API key"] for row in rows} == {"", "'=report"}
    assert sum(int(row["input tokens"]) for row in rows) == 307
    assert sum(Decimal(row["cost (USD)"]) for row in rows) == Decimal("0.031")


# -- for staff ----------------------------------------------------------------------------------------


def test_staff_see_everything_and_every_figure_leads_to_its_list(calls, user, client_of, staff):
    desk = client_of(staff)
    url = reverse("admin:chat_hourlyusage_changelist")
    with CaptureQueriesContext(connection) as queries:
        html = desk.get(url, DAYS).content.decode()
    assert len(queries) < 40
    for text in ("By user", "By group", "By model", "By API key", "By source", "ada", "bob", "in no group"):
        assert text in html
    link = f"user__id__exact={user.pk}"
    assert link in html
    answers = desk.get(reverse("admin:chat_generation_changelist"), {**DAYS, "user__id__exact": user.pk})
    assert answers.context["cl"].result_count == 2
    by_key = {**DAYS, "api_key__id__exact": calls.pk, "source__exact": "api"}
    assert desk.get(reverse("admin:chat_generation_changelist"), by_key).context["cl"].result_count == 1
    html = desk.get(url, {**DAYS, "username": "ADA", "source": "api"}).content.decode()
    assert "User: ada" in html
    assert "Source: API" in html
    assert "bob" not in html
    lines = b"".join(desk.get(f"{url}download/", {**DAYS, "user": user.pk}).streaming_content).decode()
    assert "ada" in lines
    assert "bob" not in lines


def test_staff_without_the_permission_see_nothing(client_of, db):
    vera = User.objects.create_user("vera", is_staff=True)
    client, url = client_of(vera), reverse("admin:chat_hourlyusage_changelist")
    assert client.get(url).status_code == 403
    assert client.get(f"{url}download/").status_code == 403
    vera.user_permissions.set(Permission.objects.filter(codename="view_hourlyusage"))
    html = client_of(vera).get(url, {"user": "x", "group": "999", "since": "never"}).content.decode()
    assert "Nothing was used in this period." in html
    assert "Enter dates such as" in html
