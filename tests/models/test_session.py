"""Whose session a cookie names."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.models.session import SignedInUser, session_pair

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(client, user):
    client.force_login(user)
    return client.session.session_key


def test_a_session_belongs_to_who_signed_in(key, user):
    assert session_pair(key) == (key, user.pk)


@pytest.mark.parametrize("odd", ["", "nosuchsession", "a\0b", "é" * 32, "' OR 1=1 --"])
def test_what_is_no_key_of_a_session_names_nobody(odd):
    assert session_pair(odd) is None


def test_a_session_without_a_user_names_nobody(client):
    session = client.session
    session["theme"] = "dark"
    session.save()
    assert session_pair(session.session_key) is None


def test_an_expired_session_names_nobody(key):
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert session_pair(key) is None


def test_a_session_ends_with_a_new_password_and_with_a_disabled_user(key, user):
    user.is_active = False
    user.save()
    assert session_pair(key) is None
    user.is_active = True
    user.set_password("another one")
    user.save()
    assert session_pair(key) is None


def test_who_signed_in_is_read_again_each_time(key, user):
    signed_in = SignedInUser(key, user.pk)
    assert signed_in.read() == user
    user.first_name = "Ada"
    user.save()
    assert signed_in.read().first_name == "Ada"


@pytest.mark.parametrize("ending", ["disabled", "password", "signed out", "expired"])
def test_who_was_signed_in_is_not_after_the_end_of_the_session(key, user, ending):
    signed_in = SignedInUser(key, user.pk)
    assert signed_in.read() == user
    match ending:
        case "disabled":
            type(user).objects.update(is_active=False)
        case "password":
            user.set_password("another one")
            user.save()
        case "signed out":
            Session.objects.all().delete()
        case "expired":
            Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert signed_in.read() is None


def test_a_session_is_not_another_users(key, user, django_user_model):
    other = django_user_model.objects.create(username="other")
    assert SignedInUser(key, other.pk).read() is None
