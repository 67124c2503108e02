"""`manage.py import_conversations FILE --user NAME`: import what a user exported from another program."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from chat.attachments.imported import keep_imported
from chat.models import ConversationImport
from chat.runtime.process import current_runtime
from chat.transfer.importing.run import run_import


class Command(BaseCommand):
    help = "Import an export of ChatGPT, Claude, Open WebUI, LibreChat or Chatsite, beside a running server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a ZIP or JSON file, or a folder with JSON files")
        parser.add_argument("--user", required=True, help="whose conversations they become")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.exists():
            raise CommandError(f"There is no file {path}.")
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        imported = ConversationImport.objects.create(
            user=user, file_name=path.name[:200], status=ConversationImport.Status.WAITING
        )
        writer = current_runtime().writer
        keep_file = partial(keep_imported, writer)
        if not async_to_sync(run_import)(writer, imported.pk, path.resolve(), keep_file=keep_file):
            imported.delete()
            raise CommandError(f"Another import of {user} is running. Try again when it has ended.")
        imported.refresh_from_db()
        for row in imported.report.filter(outcome="skipped")[:1_000]:
            times = f" × {row.count}" if row.count > 1 else ""
            print(f"{row.number}: skipped{times}: {row.title or '–'}: {row.reason}")
        print(
            f"{imported.imported} imported, {imported.updated} updated, {imported.unchanged} known already, "
            f"{imported.skipped} skipped; {imported.messages_count} messages."
        )
        if imported.problem:
            raise CommandError(imported.problem)
