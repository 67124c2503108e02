"""`manage.py signin_link`: the user and the URL of the link."""

import fcntl
import io
import json

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from chat.management import owner, server_lock
from chat.models.sign_in import SigninLink

pytestmark = pytest.mark.django_db


def signin_link(*arguments: str) -> str:
    out = io.StringIO()
    call_command("signin_link", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def user_of(url: str) -> str:
    return SigninLink.find(url.rstrip("/").rpartition("/")[2]).user.get_username()


def test_without_a_name_it_is_for_the_owner_who_is_created_if_there_is_none():
    url = signin_link()
    user = get_user_model().objects.get()
    assert user_of(url) == user.get_username() == "owner"
    assert (user.is_superuser, user.is_staff, user.has_usable_password()) == (True, True, False)


def test_an_existing_superuser_is_the_owner(staff):
    assert user_of(signin_link()) == "grace"


def test_a_user_named_owner_does_not_become_the_owner():
    get_user_model().objects.create_user("owner")
    assert owner.owner().get_username() == "owner2"


def test_any_user_can_be_named(user):
    assert user_of(signin_link("ada")) == "ada"


def test_the_error_about_an_unknown_name_lists_existing_users(user, other_user):
    with pytest.raises(CommandError, match=r"no user 'eve'\. Existing users: ada, bob\."):
        signin_link("eve")


def test_a_disabled_user_gets_no_link(user):
    user.is_active = False
    user.save()
    with pytest.raises(CommandError, match="ada is disabled"):
        signin_link("ada")


def test_the_link_uses_the_public_url(settings):
    settings.PUBLIC_URL = "https://chat.example.org"
    assert signin_link().startswith("https://chat.example.org/signin/")


def test_the_link_uses_the_url_of_the_running_server(tmp_path, monkeypatch):
    lock = tmp_path / "db.lock"
    lock.write_text(json.dumps({"pid": 1, "url": "http://127.0.0.1:8007"}))
    monkeypatch.setattr(server_lock, "path", lambda: lock)
    assert signin_link().startswith(f"{owner.DEFAULT_URL}/signin/")  # the server has exited
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert signin_link().startswith("http://127.0.0.1:8007/signin/")
