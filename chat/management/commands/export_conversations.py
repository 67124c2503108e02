"""`manage.py export_conversations FILE --user NAME`: the ZIP of *My data*, as docs/export.md describes it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from chat.attachments.own_files import write_attachments
from chat.batches.own_files import write_batches
from chat.review.own_data import zip_of


class Command(BaseCommand):
    help = "Write everything that belongs to a user into a ZIP file, beside a running server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the ZIP file to write; it must not exist")
        parser.add_argument("--user", required=True, help="whose conversations")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        try:
            with options["file"].open("xb") as file:
                for part in zip_of(user, write_batches, write_attachments):
                    file.write(part)
        except OSError as exc:
            raise CommandError(f"The file cannot be written: {exc}") from exc
