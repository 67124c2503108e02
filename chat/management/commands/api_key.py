"""`manage.py api_key --user NAME --name WORDS`: a key for a program, shown once."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser

from chat.errors import RequestRefused
from chat.models import ApiKey


class Command(BaseCommand):
    help = "Print a new API key of a person's. It is shown this once; only a digest of it is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="whose programs will use it")
        parser.add_argument("--name", required=True, help="what it is for")

    def handle(self, *, user: str, name: str, **_: Any) -> None:
        person = get_user_model().objects.filter(username=user, is_active=True).first()
        if person is None:
            raise CommandError(f"There is no enabled user {user!r}. See the people in the admin.")
        try:
            _row, key = ApiKey.make(person, name)
        except RequestRefused as refused:
            raise CommandError(refused.message) from refused
        self.stdout.write(key)
