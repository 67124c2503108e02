"""Thumbs on answers: given, changed, explained and taken back, by their own user only."""

import pytest
from django.urls import reverse

from chat.models import AccessRecord, Feedback
from tests.review.conftest import converse

pytestmark = pytest.mark.django_db
SCRIPT = {"HX-Request": "true"}


@pytest.fixture
def answer(user, model):
    return converse(user, model).leaf


@pytest.fixture
def mine(client_of, user):
    return client_of(user)


def url_of(message):
    return reverse("feedback", args=[message.pk])


def test_a_thumb_is_stored_changed_and_taken_back(mine, answer, user):
    html = mine.post(url_of(answer), {"value": "1"}, headers=SCRIPT).content.decode()
    given = Feedback.objects.get()
    assert (given.message, given.user, given.value) == (answer, user, 1)
    assert html.count('aria-pressed="true"') == 1

    mine.post(url_of(answer), {"value": "-1"}, headers=SCRIPT)
    assert Feedback.objects.get().value == -1
    html = mine.post(url_of(answer), {"value": "0"}, headers=SCRIPT).content.decode()
    assert not Feedback.objects.exists()
    assert 'aria-pressed="true"' not in html


def test_reasons_and_a_comment_are_stored(mine, answer):
    form = {"value": "-1", "explain": "1", "reasons": ["unsafe", "incorrect", "made up"], "comment": " No \0"}
    response = mine.post(url_of(answer), form, headers=SCRIPT)
    assert response["HX-Trigger"] == "dialog-done"
    given = Feedback.objects.get()
    assert given.reasons == ["incorrect", "unsafe"]
    assert given.comment == "No"
    assert 'value="unsafe" checked' in mine.get(url_of(answer)).content.decode()


def test_a_changed_mind_drops_the_reasons_of_the_other_thumb(mine, answer):
    mine.post(url_of(answer), {"value": "-1", "explain": "1", "reasons": ["unsafe"], "comment": "x"})
    mine.post(url_of(answer), {"value": "1"})
    given = Feedback.objects.get()
    assert (given.reasons, given.comment) == ([], "")


def test_a_comment_that_is_too_long_is_refused_with_its_text_kept_on_the_page(mine, answer):
    form = {"value": "-1", "explain": "1", "comment": "x" * 2_001}
    response = mine.post(url_of(answer), form, headers=SCRIPT)
    assert response.status_code == 422
    assert "the limit is 2000" in response.content.decode()
    assert Feedback.objects.get().comment == ""


def test_without_scripts_a_thumb_down_leads_to_the_reasons(mine, answer):
    response = mine.post(url_of(answer), {"value": "-1"}, follow=True)
    assert response.redirect_chain == [(url_of(answer), 302)]
    assert "What was wrong?" in response.content.decode()
    up = mine.post(url_of(answer), {"value": "1"})
    assert up.url.endswith(f"#m{answer.pk}")


@pytest.mark.parametrize("value", ["2", "", "up", "-0"])
def test_other_values_are_refused(mine, answer, value):
    assert mine.post(url_of(answer), {"value": value}).status_code == 422
    assert not Feedback.objects.exists()


def test_the_answers_of_others_cannot_be_rated(client_of, other_user, answer):
    assert client_of(other_user).post(url_of(answer), {"value": "1"}).status_code == 404
    assert client_of(other_user).get(url_of(answer)).status_code == 404
    assert not Feedback.objects.exists()


def test_only_finished_answers_can_be_rated(mine, answer):
    assert mine.post(url_of(answer.parent), {"value": "1"}).status_code == 422
    answer.generations.update(finished_at=None, status="running")
    assert mine.post(url_of(answer), {"value": "1"}).status_code == 422
    assert not Feedback.objects.exists()


def test_the_page_shows_the_thumb_that_was_given(mine, answer):
    mine.post(url_of(answer), {"value": "1"})
    html = mine.get(reverse("conversation", args=[answer.conversation_id])).content.decode()
    assert html.count('aria-label="Good answer"') == 1
    assert 'aria-pressed="true" aria-label="Good answer"' in html


# -- who read my conversations --------------------------------------------------------------------


def test_users_see_who_read_theirs_only_if_the_site_shows_it(mine, answer, user, other_user, settings):
    for subject in (user, other_user):
        AccessRecord.add(
            "open",
            actor_id=9,
            actor_name=f"reader of {subject.username}",
            subject_id=subject.pk,
            conversation_id=answer.conversation_id,
            reason="<b>why</b>",
        )
    assert mine.get(reverse("accesses")).status_code == 404
    settings.ACCESS_VISIBLE_TO_USERS = True
    html = mine.get(reverse("accesses")).content.decode()
    assert "reader of ada" in html
    assert "reader of bob" not in html
    assert "<b>why" not in html
    assert reverse("accesses") in mine.get(reverse("settings")).content.decode()
