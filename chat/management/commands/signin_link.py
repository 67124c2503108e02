"""`manage.py signin_link [username]`: print a link that signs a user in once."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import BaseCommand, CommandError, CommandParser

from chat.management import owner
from chat.models.sign_in import SigninLink

# Names that the error about an unknown user lists, at most.
NAMES_SHOWN = 20


class Command(BaseCommand):
    help = "Print a one-time sign-in link, valid for 15 minutes. Default: for the owner."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", help="the user to sign in (default: the owner)")

    def handle(self, *, username: str | None, **_: Any) -> None:
        user = self._named(username) if username else owner.owner()
        minutes = SigninLink.LIFETIME.total_seconds() // 60
        self.stdout.write(owner.link_for(user, owner.base_url()))
        self.stderr.write(f"Signs {user.get_username()} in once. Valid for {minutes:g} minutes.")

    def _named(self, username: str) -> AbstractUser:
        users = get_user_model().objects
        found = users.filter(username=username).first()
        if found is None:
            names = list(users.order_by("username").values_list("username", flat=True)[: NAMES_SHOWN + 1])
            more = " …" if len(names) > NAMES_SHOWN else ""
            known = ", ".join(names[:NAMES_SHOWN]) + more if names else "none"
            raise CommandError(f"There is no user {username!r}. Existing users: {known}.")
        if not found.is_active:
            raise CommandError(f"{username} is disabled. Enable the user in the admin first.")
        return found
