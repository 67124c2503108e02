"""`manage.py api_key --user NAME --name TEXT`: create an API key and print it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser

from chat.errors import RequestRefused
from chat.models import ApiKey


class Command(BaseCommand):
    help = "Create an API key for a user and print it. It cannot be shown again: only a digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="the user that the key belongs to")
        parser.add_argument("--name", required=True, help="what the key is for")

    def handle(self, *, user: str, name: str, **_: Any) -> None:
        owner = get_user_model().objects.filter(username=user, is_active=True).first()
        if owner is None:
            raise CommandError(f"There is no active user {user!r}. The admin lists all users.")
        try:
            _row, key = ApiKey.make(owner, name)
        except RequestRefused as refused:
            raise CommandError(refused.message) from refused
        self.stdout.write(key)
