"""Build the search index again, beside a running server.

The index is kept up by the program. Rebuild it after rows were changed by other programs, or if a search does
not find what is there.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from chat.models import Message
from chat.runtime.cleanup import PAUSE_FACTOR, ROWS_MIN, next_slice_rows
from chat.search import index


class Command(BaseCommand):
    help = "Build the search index again. The server may run meanwhile; answers wait for a few milliseconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--after", type=int, default=0, metavar="ID", help="begin after this message, as a run said"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        index.create()
        last, count, rows = options["after"], 0, ROWS_MIN
        while True:
            started_s = time.monotonic()
            with transaction.atomic():
                slice_ids = Message.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)
                ids = list(slice_ids[:rows])
                Message.objects.filter(pk__in=ids).reindex()
            took_s = time.monotonic() - started_s
            if not ids:
                break
            last, count, rows = ids[-1], count + len(ids), next_slice_rows(rows, took_s)
            if options["verbosity"] > 1:
                print(f"up to message {last}")
            time.sleep(PAUSE_FACTOR * took_s / 4)
        print(f"Indexed {count} messages.")
