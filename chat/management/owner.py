"""The owner of an installation, and sign-in links."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser

from chat.management import server_lock
from chat.models.sign_in import SigninLink

NAME = "owner"
DEFAULT_URL = "http://127.0.0.1:8000"


def owner() -> AbstractUser:
    """Return the first active superuser. If there is none, create one without a password."""
    users = get_user_model().objects
    superuser = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if superuser is not None:
        return superuser
    user = users.model(username=_free_name(), is_staff=True, is_superuser=True)
    user.set_unusable_password()
    user.save()
    return user


def can_sign_in() -> bool:
    """Return whether any active superuser has a password."""
    users = get_user_model().objects.filter(is_superuser=True, is_active=True)
    return any(user.has_usable_password() for user in users)


def link_for(user: AbstractUser, base_url: str) -> str:
    """Return a new sign-in link. Older unused links of the user become invalid."""
    return f"{base_url}/signin/{SigninLink.make(user.pk)}/"


def base_url() -> str:
    """Return the URL of the running server, or else the default one."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL)
    holder = server_lock.holder()
    return holder.url if holder and holder.url else DEFAULT_URL


def _free_name() -> str:
    taken = set(get_user_model().objects.values_list("username", flat=True))
    candidates = (NAME, *(f"{NAME}{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in candidates if name not in taken)
