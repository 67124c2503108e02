"""The dashboard adds up the answers of each hour once, compares periods, and takes few queries."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.models import Assignment, Feedback, Generation, HourlyFigures, Mark, Process
from chat.models.hourly_figures import LIMITS_S
from chat.usage.figures import read_figures
from chat.usage.rollup import catch_up, percentile
from tests.review.conftest import converse, finish, staff_with

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)
QUERIES_MAX = 20


@pytest.fixture
def answer(user, model):
    """Return a function that stores an answer that ended at a time before NOW."""

    def answer(ago, first_text_s=1.0, by=user, **fields):
        generation = converse(by, model).leaf.generations.get()
        created = NOW - ago - timedelta(seconds=10)
        conversation = generation.message.conversation
        conversation.created_at = created
        conversation.save()
        Generation.objects.filter(pk=generation.pk).update(
            created_at=created,
            **{"first_delta_at": created + timedelta(seconds=first_text_s), "finished_at": NOW - ago}
            | fields,
        )
        return generation

    return answer


def test_figures_of_a_period_and_of_the_one_before(answer, other_user):
    answer(timedelta(hours=1), status="failed", cost_usd="0.5", input_tokens=10, output_tokens=5)
    answer(timedelta(hours=2), recoveries=1)
    answer(timedelta(days=2), by=other_user)
    answer(timedelta(days=8))
    assert catch_up(NOW)

    found = read_figures(7, now=NOW)
    total = found.total
    assert (total.answers, total.conversations, total.active_users) == (3, 3, 2)
    assert (total.error_rate, total.recovery_rate) == (1 / 3, 1 / 3)
    assert (float(total.cost_usd), total.tokens) == (0.5, 15)
    assert (found.before.answers, found.before.active_users) == (1, 1)
    assert [each.answers for each in found.days.values()] == [0, 0, 0, 0, 1, 0, 2]
    assert list(found.models) == ["test-model"]


def test_an_hour_is_added_up_again_while_it_lasts_and_nothing_twice(answer):
    answer(timedelta(minutes=20))
    catch_up(NOW)
    answer(timedelta(minutes=10))
    for _ in range(3):
        catch_up(NOW)
    assert read_figures(1, now=NOW).total.answers == 2
    later = NOW + timedelta(hours=5)
    catch_up(later)
    assert read_figures(1, now=later).total.answers == 2


def test_a_long_time_is_added_up_in_parts(answer):
    for days in (9, 4, 0):
        answer(timedelta(days=days, minutes=5))
    assert not catch_up(NOW, spans_max=2)
    assert read_figures(30, now=NOW).total.answers < 3
    assert catch_up(NOW)
    assert read_figures(30, now=NOW).total.answers == 3


def test_groups_models_and_thumbs(answer, other_user, user):
    group = Group.objects.create(name="Class 4b")
    other_user.groups.add(group)
    mine, theirs = answer(timedelta(hours=1)), answer(timedelta(hours=1), by=other_user)
    for generation, by, value in ((mine, user, 1), (theirs, other_user, -1)):
        Feedback.objects.create(message=generation.message, user=by, value=value, updated_at=NOW)
    catch_up(NOW)
    assert read_figures(1, now=NOW).total.thumbs_down_rate == 0.5
    of_group = read_figures(1, now=NOW, group_id=group.pk)
    assert (of_group.total.answers, of_group.total.thumbs_down_rate, of_group.total.active_users) == (1, 1, 1)
    assert read_figures(1, now=NOW).groups[group].answers == 1
    assert read_figures(1, now=NOW, model_name="other").total.answers == 0


def test_percentiles_are_right_to_a_tenth():
    counts = [0] * (len(LIMITS_S) + 1)
    for hundredths in range(100, 1100):  # 1 s to 11 s, evenly
        counts[next(at for at, limit in enumerate(LIMITS_S) if limit >= hundredths / 100)] += 1
    assert percentile(counts, 0.5) == pytest.approx(6, rel=0.2)
    assert percentile(counts, 0.95) == pytest.approx(10.5, rel=0.2)
    assert percentile([0] * len(counts), 0.5) is None
    assert percentile([0] * len(LIMITS_S) + [5], 0.5) == LIMITS_S[-1]


def test_the_front_page_shows_figures_with_links_in_few_queries(client_of, user, model):
    for _ in range(3):
        converse(user, model)
    desk = client_of(staff_with("boss", "view_conversation"))
    desk.get(reverse("admin:index"))
    with CaptureQueriesContext(connection) as queries:
        page = desk.get(reverse("admin:index"), {"days": "30"}).content.decode()
    statements = [each["sql"] for each in queries.captured_queries if "SAVEPOINT" not in each["sql"]]
    assert len(statements) <= QUERIES_MAX
    assert 'role="group" aria-label="Answers.' in page
    assert "style=" not in page
    for part in page.split('<ul class="figures">')[1].split("</ul>")[0].split("<a ")[1:]:
        address = part.split('"')[1].replace("&amp;", "&")
        assert desk.get(address).status_code == 200, address
    day = f"{timezone.localtime():%Y-%m-%d}"
    assert f"since={day}&amp;until={day}" in page


@pytest.mark.parametrize("query", [{}, {"model": "test-model", "days": "30"}])
def test_each_figure_leads_to_a_list_of_as_many_rows(client_of, staff, answer, other_user, user, query):
    now = timezone.now()
    answer(NOW - now + timedelta(minutes=1), status="failed")
    answer(NOW - now + timedelta(minutes=1), status="interrupted", recoveries=1, first_delta_at=None)
    second = answer(NOW - now + timedelta(minutes=2), by=other_user)
    answer(NOW - now + timedelta(days=2))
    answer(NOW - now + timedelta(days=40))
    # A run that continues an answer is not the first of its conversation.
    again = finish(second.message, user, second.model)
    Generation.objects.filter(pk=again.pk).update(created_at=now + timedelta(seconds=5))
    for value, by in ((1, user), (-1, other_user)):
        Feedback.objects.create(message=second.message, user=by, value=value)
    boss = client_of(staff)
    assert catch_up()
    page = boss.get(reverse("admin:index"), query)
    total = read_figures(int(query.get("days", 7)), model_name=query.get("model", "")).total
    addresses = [figure.url for figure in page.context["dashboard"]["figures"]]
    counts = [boss.get(address).context["cl"].result_count for address in addresses]
    texts = sum(total.first_text)
    assert counts == [
        *(total.conversations, total.answers, total.active_users, total.failed, total.recovered),
        *(total.thumbs_down, texts, texts, total.answers, total.answers),
    ]
    assert (total.failed, total.thumbs_down, total.thumbs_up) == (2, 1, 1)
    assert total.answers > total.conversations > total.active_users >= 1
    bars = page.context["dashboard"]["charts"][0].bars
    days = [boss.get(bar.url).context["cl"].result_count for bar in bars]
    assert sum(days) == total.answers


@pytest.mark.parametrize("query", [{"days": "x"}, {"model": "<script>"}, {"group": "99"}, {"days": "-1"}])
def test_an_address_that_makes_no_sense_shows_the_figures(client_of, query):
    desk = client_of(staff_with("boss", "view_conversation"))
    response = desk.get(reverse("admin:index"), query)
    assert response.status_code == 200
    assert "<script>" not in response.content.decode().split("<main")[1].replace("<script src", "")


def test_staff_without_the_permission_see_no_figures(client_of, user, model):
    converse(user, model)
    page = client_of(staff_with("nosy")).get(reverse("admin:index")).content.decode()
    assert 'class="figures"' not in page
    assert not HourlyFigures.objects.exists()


@pytest.fixture
def lines(client_of, staff):
    """Return a function that reads what needs attention, as (text, rows of the list behind it)."""
    owner = client_of(staff)

    def read():
        found = owner.get(reverse("admin:index")).context["attention"]
        return {line.text: owner.get(line.url) for line in found}

    return read


def test_what_needs_attention_leads_to_where_it_is_dealt_with(lines, staff, user, model, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    model.endpoint.api_key_env = "OPENAI_API_KEY"
    model.endpoint.save()
    assert lines() == {}
    conversation = converse(user, model)
    conversation.leaf.generations.update(status="failed", finished_at=timezone.now())
    Mark.objects.create(kind="flag", conversation=conversation, author=staff, author_name="grace")
    Assignment.objects.create(conversation=conversation, reviewer=staff, assigned_by_name="x")
    breaker = {"endpoint": "e", "model": "slow-one", "state": "open", "is_held": True, "wait_s": None}
    Process.objects.create(id="p", host="h", pid=1, status={"breakers": [breaker | {"waiting": 0}]})
    monkeypatch.delenv("OPENAI_API_KEY")
    pages = lines()
    assert list(pages) == [
        "slow-one is switched off.",
        f"The key of {model.endpoint.name} is missing: the server has no OPENAI_API_KEY.",
        "1 answer failed today.",
        "1 conversation is flagged.",
        "1 conversation is in your queue.",
    ]
    assert all(page.status_code == 200 for page in pages.values())
    counts = [pages[text].context["cl"].result_count for text in list(pages)[2:4]]
    assert counts == [1, 1]


def test_an_installation_with_the_demo_model_alone_is_told_how_to_connect_one(lines, model):
    model.endpoint.delete()
    pages = lines()
    assert list(pages) == ["Only the demo model answers. Connect a real one."]
    assert pages.popitem()[1].context["title"] == "Connect models"


def test_the_front_page_of_staff_without_permissions_names_nothing(client_of, model, user):
    conversation = converse(user, model)
    Mark.objects.create(kind="flag", conversation=conversation, author_name="x")
    assert client_of(staff_with("nosy")).get(reverse("admin:index")).context["attention"] == []


@pytest.mark.parametrize("is_superuser", [True, False])
def test_the_front_page_takes_few_queries_with_all_of_its_parts(client_of, user, model, is_superuser):
    Group.objects.create(name="Class 4b")
    converse(user, model)
    boss = staff_with(
        "boss",
        *("view_conversation", "review_conversation", "view_generation", "view_feedback"),
        *("view_process", "view_endpoint"),
    )
    type(boss).objects.filter(pk=boss.pk).update(is_superuser=is_superuser)
    boss.refresh_from_db()
    desk = client_of(boss)
    desk.get(reverse("admin:index"))
    with CaptureQueriesContext(connection) as queries:
        assert desk.get(reverse("admin:index")).status_code == 200
    statements = [each["sql"] for each in queries.captured_queries if "SAVEPOINT" not in each["sql"]]
    assert len(statements) <= QUERIES_MAX
