"""The Operations page: the status of every process, and the actions of operators."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from chat.models import BreakerOverride, Generation, Process
from tests.support.runtime import running_generation

URL = "/admin/chat/process/operations/"


@pytest.fixture
def desk(client_of, staff):
    return client_of(staff)


def staff_with_permissions(client_of, *codenames):
    reviewer = User.objects.create_user("vera", password="x", is_staff=True)
    reviewer.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return client_of(reviewer)


def breaker(model="m", endpoint="e", state="open", is_held=False, wait_s=7.5, waiting=3):
    return {
        "endpoint": endpoint,
        "model": model,
        "state": state,
        "is_held": is_held,
        "wait_s": wait_s,
        "waiting": waiting,
    }


def process(number=1, *, breakers=(), endpoints=(), generations=(), running=None):
    status = {
        "sockets": 4,
        "running": len(generations) if running is None else running,
        "breakers": list(breakers),
        "endpoints": list(endpoints),
        "generations": [
            {"id": each, "model": "m", "since": timezone.now().isoformat()} for each in generations
        ],
    }
    return Process.objects.create(id=f"p{number}", host=f"host{number}", pid=number, status=status)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_list_of_processes_links_to_it(desk):
    assert f'href="{URL}"' in desk.get(reverse("admin:chat_process_changelist")).content.decode()


def test_it_shows_breakers_slots_queues_and_running_generations_of_every_process(desk, user, model):
    generation = running_generation(user, model)
    waiting = {"interactive": 5, "api": 0, "bulk": 2}
    endpoint = {"endpoint": "e", "slots": 8, "running": 6, "waiting": waiting, "paused_s": 3.5}
    process(1, breakers=[breaker()], endpoints=[endpoint])
    process(2, breakers=[breaker(state="half_open")], generations=[generation.pk], running=60)

    html = desk.get(URL).content.decode()

    text = text_of(html)
    for words in ("host1:1", "host2:2", "7.5 s", "6 / 8", "interactive 5, bulk 2", "3.5 s", "59 more"):
        assert words in text, words
    assert 'class="state state-open"' in html
    assert 'class="state state-half_open"' in html
    assert reverse("admin:chat_generation_change", args=[generation.pk]) in html
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html)


def test_a_process_without_a_status_yet_is_shown(desk, db):
    Process.objects.create(id="p", host="old", pid=1, status={"running": 3})

    assert "old:1" in desk.get(URL).content.decode()


def test_it_refreshes_automatically_until_that_is_paused(desk):
    assert b'http-equiv="refresh"' in desk.get(URL).content
    assert b'http-equiv="refresh"' not in desk.get(URL, {"still": "1"}).content


def test_it_makes_as_many_queries_for_twenty_processes_as_for_one(
    desk, user, model, django_assert_max_num_queries
):
    for number in range(20):
        generation = running_generation(User.objects.create(username=f"person{number}"), model)
        operator = User.objects.create(username=f"operator{number}")
        BreakerOverride.hold_open("e", f"m{number}", by=operator)
        process(number, breakers=[breaker(f"m{number}", is_held=True)], generations=[generation.pk])

    with django_assert_max_num_queries(8):
        html = desk.get(URL).content.decode()

    assert "operator19" in html


def test_switching_off_and_on_is_stored_for_all_processes_with_the_operator(desk, staff, model):
    where = {"endpoint": "nowhere", "model": "test-model"}

    response = desk.post(URL, {"action": "hold_open", **where}, follow=True)
    row = BreakerOverride.objects.get()
    assert (row.endpoint_name, row.model_name, row.is_held, row.by) == (*where.values(), True, staff)
    assert "Switched off: no calls are made to test-model" in response.content.decode()
    assert "&lt;" not in response.content.decode()
    assert "grace, just now" in response.content.decode()

    desk.post(URL, {"action": "close", **where})
    closed = BreakerOverride.objects.get()
    assert (closed.is_held, closed.revision) == (False, row.revision + 1)


def test_a_model_that_is_switched_off_can_be_switched_on_after_its_model_was_deleted(desk, staff):
    BreakerOverride.hold_open("gone", "old-model", by=staff)

    assert 'value="old-model"' in desk.get(URL).content.decode()


def test_generations_of_any_user_can_be_stopped_and_are_shown_as_stopping(desk, user, model):
    generation = running_generation(user, model)
    process(generations=[generation.pk])

    html = desk.post(URL, {"action": "stop", "generation": generation.pk}, follow=True).content.decode()

    generation.refresh_from_db()
    assert generation.stop_requested_at is not None
    assert "Stop requested for 1 generation." in html
    assert "Stopping…" in html


def test_a_final_generation_is_not_stopped(desk, user, model):
    generation = running_generation(user, model)
    Generation.objects.update(status="completed", finished_at=timezone.now())

    html = desk.post(URL, {"action": "stop", "generation": generation.pk}, follow=True).content.decode()

    generation.refresh_from_db()
    assert generation.stop_requested_at is None
    assert "Already finished." in html


@pytest.mark.parametrize(
    "data",
    [{}, {"action": "explode"}, {"action": "hold_open", "model": "m"}, {"action": "stop", "generation": "x"}],
)
def test_an_unknown_action_is_refused(desk, data):
    response = desk.post(URL, data)
    assert (response.status_code, response.content) == (400, b"Unknown action.")
    assert not BreakerOverride.objects.exists()


def test_staff_who_may_only_view_see_no_buttons_and_are_refused(client_of, model):
    reviewer = staff_with_permissions(client_of, "view_process")
    process(breakers=[breaker()])

    page = reviewer.get(URL)
    assert page.status_code == 200
    assert 'value="hold_open"' not in page.content.decode()
    response = reviewer.post(URL, {"action": "hold_open", "endpoint": "e", "model": "m"})
    assert response.status_code == 403
    assert not BreakerOverride.objects.exists()


def test_staff_who_may_change_processes_can_use_the_actions(client_of, model):
    operator = staff_with_permissions(client_of, "view_process", "change_process")

    assert 'value="hold_open"' in operator.get(URL).content.decode()
    assert operator.post(URL, {"action": "hold_open", "endpoint": "e", "model": "m"}).status_code == 302


def test_staff_without_a_permission_for_processes_are_refused(client_of, db):
    assert staff_with_permissions(client_of, "view_generation").get(URL).status_code == 403


def test_users_who_are_not_staff_are_refused(client, client_of, user):
    data = {"action": "hold_open", "endpoint": "e", "model": "m"}
    for browser in (client, client_of(user)):
        assert browser.get(URL).status_code in {302, 403}
        assert browser.post(URL, data).status_code in {302, 403}
    assert not BreakerOverride.objects.exists()


def test_generations_are_stopped_from_their_list(desk, user, other_user, model):
    active, final = running_generation(user, model), running_generation(other_user, model)
    Generation.objects.filter(pk=final.pk).update(status="completed", finished_at=timezone.now())

    url = reverse("admin:chat_generation_changelist")
    desk.post(url, {"action": "stop", "_selected_action": [active.pk, final.pk]})

    assert list(Generation.objects.exclude(stop_requested_at=None)) == [active]


def test_a_reviewer_has_no_action_to_stop_generations(client_of, user, model):
    running_generation(user, model)
    reviewer = staff_with_permissions(client_of, "view_generation")

    url = reverse("admin:chat_generation_changelist")
    assert 'value="stop"' not in reviewer.get(url).content.decode()


def test_an_attempt_shows_time_in_queue_and_backoff_separately(desk, user, model):
    generation = running_generation(user, model)
    started = timezone.now() - timedelta(seconds=5)
    generation.attempts.create(number=1, model_name="m", wait_s=1.25, queued_s=8.5, started_at=started)

    html = desk.get(reverse("admin:chat_generation_change", args=[generation.pk])).content.decode()

    assert "8.5 s" in html
    assert "1.2 s" in html


@pytest.mark.parametrize(
    ("in_use", "expected"),
    [
        (12, "5 here; 3 processes use 12 of 32 slots in total"),
        (None, "5 of 10 here; 3 processes share 32 slots, usage unknown"),
    ],
)
def test_it_shows_how_processes_share_slots(desk, in_use, expected):
    shares = {"slots": 32, "limit": 10, "running": 5, "in_use": in_use, "processes": 3}
    process(endpoints=[{"endpoint": "e", **shares, "waiting": {}, "paused_s": 0}])
    assert expected in text_of(desk.get(URL).content.decode())
