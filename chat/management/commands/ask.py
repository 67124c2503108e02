"""`manage.py ask "…"`: ask a model one question, and print the answer."""

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
from chat.management import details, exits
from chat.management.ask.output import AnswerPrinter
from chat.management.ask.process import find_user_and_model
from chat.management.ask.question import Question, QuestionResult
from chat.management.ask.stdin import read_question
from chat.management.exits import Exit
from chat.models.api_request import ApiRequest

NOTES = f"""\
With a question, text that is piped into the command is sent above it. Standard input that the command only
shares with a loop, script or program around it is not read, except with --file -:

  git diff | manage.py ask "Is anything missing?"
  while read -r question; do manage.py ask "$question"; done <questions

Progress (retries, time in queue, fallbacks) is reported on stderr if it is a terminal, or with -v 2.
Ctrl-C stops the answer; a second Ctrl-C exits immediately. Staff can read all answers in the admin.

exit codes:
{exits.table()}
"""


class _HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the exit codes."""


class Command(BaseCommand):
    help = "Ask a model one question. Only the answer is printed to standard output."
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=_HelpFormatter, epilog=NOTES, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "question", nargs="?", help="the question; if it is - or missing, it is read from standard input"
        )
        parser.add_argument(
            "--file",
            type=Path,
            metavar="PATH",
            help="a text to ask about, or the question itself; if it is -, it is read from standard input",
        )
        parser.add_argument(
            "--model", metavar="NAME", help="model name or ENDPOINT/NAME (default: the default model)"
        )
        parser.add_argument("--system", metavar="TEXT", default="", help="a system prompt")
        parser.add_argument("--user", metavar="NAME", help="the user who asks (default: the owner)")
        parser.add_argument(
            "--timeout",
            type=_seconds,
            metavar="S",
            default=settings.TOTAL_TIMEOUT_S,
            help="stop the answer after S seconds, including time in the queue (default: %(default)g)",
        )
        parser.add_argument(
            "--json", dest="is_json", action="store_true", help="print a JSON document at the end"
        )
        parser.add_argument(
            "--stream",
            dest="is_streaming",
            action=argparse.BooleanOptionalAction,
            help="print the answer as it is generated, or at the end (default: --stream only on a terminal)",
        )

    def handle(self, **options: Any) -> NoReturn:
        if options["is_json"] and options["is_streaming"]:
            raise CommandError("--json cannot be combined with --stream.", returncode=Exit.USAGE)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # for terminals that are not UTF-8
        try:
            code = self._ask(**options)
        except KeyboardInterrupt:
            code = Exit.CTRL_C
        except RequestRefused as refusal:
            raise CommandError(refusal.message, returncode=Exit.REFUSED) from refusal
        except DatabaseError as error:
            message = f"The database cannot be used: {str(error).strip()}"
            raise CommandError(message, returncode=Exit.FAULT) from error
        if code == Exit.PIPE_CLOSED:
            # Otherwise Python reports an error when it flushes the closed pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(code)

    def _ask(self, *, question: str | None, file: Path | None, system: str, **options: Any) -> Exit:
        text = read_question(question, file, timeout_s=options["timeout"], warn=self._report)
        user, model = find_user_and_model(options["user"], options["model"])
        connections.close_all()  # other threads use the database from here on
        messages = [{"role": "system", "content": system}] if system.strip() else []
        request = ApiRequest([*messages, {"role": "user", "content": text}]).cleaned()
        is_reporting = options["verbosity"] > 1 or (options["verbosity"] and self.stderr.isatty())
        is_streaming = options["is_streaming"]
        if is_streaming is None:
            is_streaming = self.stdout.isatty() and not options["is_json"]
        printer = AnswerPrinter(
            self.stdout,
            is_streaming=is_streaming,
            report=self._report if is_reporting else lambda _: None,
            warn=self._report,
        )
        question_ = Question(user, model, request, options["timeout"], printer)
        return asyncio.run(self._run(question_, is_json=options["is_json"], is_streaming=is_streaming))

    async def _run(self, question: Question, *, is_json: bool, is_streaming: bool) -> Exit:
        result = await question.run()
        printer = question.printer
        if is_json:
            document = await database_sync_to_async(details.as_json)(result.generation_id, result.exit)
            await printer.print(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        else:
            if not is_streaming:
                await printer.print(printer.text)
            await printer.end_line()
        self._report_end(result, question)
        return Exit.PIPE_CLOSED if printer.is_broken else result.exit

    def _report_end(self, result: QuestionResult, question: Question) -> None:
        """Report how the answer ended if its text does not show it."""
        match result.last:
            case events.Failed(message=message) | events.Interrupted(message=message):
                self._report(message)
            case events.Stopped() if result.is_timed_out:
                self._report(f"Timeout: the answer was stopped after {question.timeout_s:g} s.")
            case events.Stopped() if result.exit == Exit.INTERRUPTED:
                self._report("The answer was stopped by a user or an operator.")
            case events.Completed(finish_reason="length"):
                self._report("The answer reached the length limit (finish reason: length).")
            case events.Completed(finish_reason="content_filter"):
                self._report("The provider's content filter ended the answer.")

    def _report(self, message: str) -> None:
        self.stderr.write(message, style_func=str)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a timeout (more than 0, at most 86400 seconds)")
    return seconds
