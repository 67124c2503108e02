"""Whose session a cookie names."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.models.session import session_pair

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
