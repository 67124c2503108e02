"""`manage.py ask "…"`: one question to a model, its answer on the standard output."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from channels.db import database_sync_to_async
from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser
from django.core.management.base import DjangoHelpFormatter
from django.db import DatabaseError, connections

from chat import events
from chat.errors import RequestRefused
from chat.management import exits, receipt
from chat.management.ask import stdin as sources
from chat.management.ask.output import Reader
from chat.management.ask.process import who_and_what
from chat.management.ask.question import Asked, End
from chat.management.exits import Exit
from chat.models.api_request import ApiRequest

NOTES = f"""\
What happens meanwhile (retries, waits, another model) is told on stderr if that is a terminal, or with -v 2.
Ctrl-C stops the answer, a second one ends at once. Answers are logged; staff find them in the admin.

exit codes:
{exits.table()}
"""


class _Help(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keep the lines of the exit codes."""


class Command(BaseCommand):
    help = "Ask a model one question. The answer, and nothing else, is printed on the standard output."
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=_Help, epilog=NOTES, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("question", nargs="?", help="what to ask; -, or nothing: the standard input")
        parser.add_argument("--file", type=Path, metavar="PATH", help="ask what is in this file")
        parser.add_argument("--model", metavar="NAME", help="default: the site's; ENDPOINT/NAME if need be")
        parser.add_argument("--system", metavar="TEXT", default="", help="a system prompt")
        parser.add_argument("--user", metavar="NAME", help="who asks (default: the owner)")
        parser.add_argument(
            "--timeout",
            type=_seconds,
            metavar="S",
            default=settings.TOTAL_TIMEOUT_S,
            help="seconds until the answer is stopped, waiting included (default: %(default)g)",
        )
        parser.add_argument(
            "--json", dest="is_json", action="store_true", help="one JSON document at the end"
        )
        parser.add_argument(
            "--stream",
            dest="is_streaming",
            action=argparse.BooleanOptionalAction,
            help="print the answer as it comes, or whole (default: as it comes to a terminal only)",
        )

    def handle(self, **options: Any) -> NoReturn:
        if options["is_json"] and options["is_streaming"]:
            raise CommandError("--json prints at the end; leave out --stream.", returncode=Exit.USAGE)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8 still gets the rest
        try:
            code = self._ask(**options)
        except KeyboardInterrupt:
            code = Exit.CTRL_C
        except RequestRefused as refusal:
            raise CommandError(refusal.message, returncode=Exit.REFUSED) from refusal
        except DatabaseError as error:
            words = f"The database cannot be used: {str(error).strip()}"
            raise CommandError(words, returncode=Exit.FAULT) from error
        if code == Exit.PIPE_CLOSED:
            # Nobody reads any more; Python would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(code)

    def _ask(self, *, question: str | None, file: Path | None, system: str, **options: Any) -> Exit:
        text = sources.read(question, file)
        user, model = who_and_what(options["user"], options["model"])
        connections.close_all()  # what follows uses the database from other threads
        messages = [{"role": "system", "content": system}] if system.strip() else []
        request = ApiRequest([*messages, {"role": "user", "content": text}]).cleaned()
        is_telling = options["verbosity"] > 1 or (options["verbosity"] and self.stderr.isatty())
        is_streaming = options["is_streaming"]
        if is_streaming is None:
            is_streaming = self.stdout.isatty() and not options["is_json"]
        reader = Reader(
            self.stdout,
            is_streaming=is_streaming,
            tell=self._say if is_telling else lambda _: None,
            warn=self._say,
        )
        asked = Asked(user, model, request, options["timeout"], reader)
        return asyncio.run(self._print(asked, is_json=options["is_json"], is_streaming=is_streaming))

    async def _print(self, asked: Asked, *, is_json: bool, is_streaming: bool) -> Exit:
        end = await asked.to_its_end()
        reader = asked.reader
        if is_json:
            document = await database_sync_to_async(receipt.document)(end.generation_id, end.exit)
            await reader.print(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        else:
            if not is_streaming:
                await reader.print(reader.text)
            await reader.end_line()
        self._tell(end, asked)
        return Exit.PIPE_CLOSED if reader.is_broken else end.exit

    def _tell(self, end: End, asked: Asked) -> None:
        """Say how it ended, where the text alone does not."""
        match end.last:
            case events.Failed(message=message) | events.Interrupted(message=message):
                self._say(message)
            case events.Stopped() if end.is_late:
                self._say(f"There was no end to the answer within {asked.timeout_s:g} s; it was stopped.")
            case events.Stopped() if end.exit == Exit.INTERRUPTED:
                self._say("Somebody stopped it.")
            case events.Completed(finish_reason="length"):
                self._say("This is as long as the model may write (finish reason: length).")
            case events.Completed(finish_reason="content_filter"):
                self._say("The provider's content filter ended the answer here.")

    def _say(self, words: str) -> None:
        self.stderr.write(words, style_func=str)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time-out: give seconds, more than 0")
    return seconds
