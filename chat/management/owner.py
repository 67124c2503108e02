"""The owner of a new installation, and the links by which people sign in without a password."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser

from chat.management import server_lock
from chat.models.sign_in import SigninLink

NAME = "owner"
DEFAULT_URL = "http://127.0.0.1:8000"


def owner() -> AbstractUser:
    """Return the first superuser, made if there is none: without a password, to be entered by a link."""
    users = get_user_model().objects
    found = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if found is not None:
        return found
    user = users.model(username=_free_name(), is_staff=True, is_superuser=True)
    user.set_unusable_password()
    user.save()
    return user


def can_sign_in() -> bool:
    """Say whether a superuser has a password."""
    users = get_user_model().objects.filter(is_superuser=True, is_active=True)
    return any(user.has_usable_password() for user in users)


def link_for(user: AbstractUser, base_url: str) -> str:
    """Return a new sign-in link; the person's older unused ones end."""
    return f"{base_url}/signin/{SigninLink.make(user.pk)}/"


def base_url() -> str:
    """Return where people reach the server that runs, or would run."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL)
    holder = server_lock.holder()
    return holder.url if holder and holder.url else DEFAULT_URL


def _free_name() -> str:
    taken = set(get_user_model().objects.values_list("username", flat=True))
    candidates = (NAME, *(f"{NAME}{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in candidates if name not in taken)
