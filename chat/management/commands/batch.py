"""`manage.py batch submit|status|fetch|cancel`: batches for scripts. A running server or worker runs them."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.core.management.base import DjangoHelpFormatter
from django.db import DatabaseError

from chat.batches import intake, results, tables
from chat.batches.lines import LineSource
from chat.errors import RequestRefused
from chat.event_log.writer import InlineWriter
from chat.management.ask.process import find_user_and_model
from chat.management.exits import Exit
from chat.models import Batch

NOTES = """\
  id=$(manage.py batch submit questions.csv --template "Summarise: {{text}}")
  cat prompts.txt | manage.py batch submit --model gpt-4o-mini --wait
  manage.py batch status $id --json
  manage.py batch fetch $id --format csv >answers.csv

exit codes: 0 done; 2 invalid command line or upload; 3 refused; 5 still running (fetch prints what there is);
6 some rows did not complete
"""
POLL_S = 1.0
LISTED_MAX = 50


class Command(BaseCommand):
    help = "Run many prompts as a batch."
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=_RawHelpFormatter, epilog=NOTES, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        submit = actions.add_parser("submit", help="store a batch, start it, and print its id")
        submit.add_argument(
            "file", nargs="?", default="-", help="CSV, TSV, JSONL, XLSX or TXT; -: standard input"
        )
        submit.add_argument(
            "--kind", choices=tables.KINDS, help="the format, if the file's name does not say it"
        )
        submit.add_argument("--template", default="", help="what is sent for each row: Summarise: {{text}}")
        submit.add_argument("--system", metavar="TEXT", default="", help="a system prompt")
        submit.add_argument("--schema", type=Path, metavar="PATH", help="a JSON schema that answers must fit")
        submit.add_argument("--model", metavar="NAME", help="model name or ENDPOINT/NAME")
        submit.add_argument("--user", metavar="NAME", help="whose batch it is (default: the owner)")
        submit.add_argument("--name", default="", help="how pages call it (default: the file's name)")
        where = submit.add_mutually_exclusive_group()
        where.add_argument("--local", dest="runner", action="store_const", const="local", help="run it here")
        where.add_argument(
            "--provider", dest="runner", action="store_const", const="provider", help="at the batch price"
        )
        submit.add_argument("--wait", action="store_true", help="until it has ended")
        for name, text in (
            ("status", "print the state"),
            ("fetch", "print the results"),
            ("cancel", "cancel"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument(
                "id", nargs="?" if name == "status" else None, help="the id that submit printed"
            )
            if name == "fetch":
                action.add_argument("--format", choices=results.FORMATS, default="jsonl", dest="format_")
                action.add_argument(
                    "--output", type=Path, metavar="PATH", help="a file (default: standard output)"
                )
            if name == "status":
                action.add_argument("--json", dest="is_json", action="store_true")
            action.add_argument("--wait", action="store_true", help="until it has ended")

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            code = getattr(self, f"_{action}")(**options)
        except RequestRefused as refused:
            is_invalid = refused.code == "invalid_input"
            raise CommandError(
                refused.message, returncode=Exit.USAGE if is_invalid else Exit.REFUSED
            ) from refused
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}", returncode=Exit.FAULT) from error
        if code:
            sys.exit(code)

    def _submit(self, *, file: str, kind: str | None, wait: bool, **options: Any) -> int:
        user, model = find_user_and_model(options["user"], options["model"])
        with tempfile.NamedTemporaryFile() as copied:
            path = Path(file)
            if file == "-":
                shutil.copyfileobj(sys.stdin.buffer, copied)
                copied.flush()
                path = Path(copied.name)
                kind = kind or "txt"
            if not path.is_file():
                raise CommandError(f"There is no file {file}.", returncode=Exit.USAGE)
            with path.open("rb") as opened:
                kind = kind or tables.kind_of(path.name, opened.read(8))
            values = {"system_prompt": options["system"], "parameters": _parameters(options["schema"])}
            if options["runner"]:
                values["runner"] = options["runner"]
            name = options["name"] or ("standard input" if file == "-" else path.name)
            batch = intake.new_batch(user, model, name, **values)
            source = LineSource(path, kind, options["template"], options["system"])
            batch = intake.accept(InlineWriter(), batch, source)
        batch.start()
        self.stdout.write(batch.wire_id)
        self.stdout.flush()
        return self._wait(batch) if wait else 0

    def _status(self, *, id: str | None, is_json: bool, wait: bool, **_: Any) -> int:
        if id is None:
            for batch in Batch.objects.exclude(status=Batch.Status.STORING)[:LISTED_MAX]:
                self.stdout.write(f"{batch.wire_id}  {_words(batch)}  {batch.name}")
            return 0
        batch = _find(id)
        code = self._wait(batch) if wait else 0
        self.stdout.write(json.dumps(_as_json(batch), indent=2) if is_json else _words(batch))
        return code

    def _fetch(self, *, id: str, format_: str, output: Path | None, wait: bool, **_: Any) -> int:
        batch = _find(id)
        if wait:
            self._wait(batch)
        if output is not None:
            with output.open("wb") as file:
                results.write(batch, format_, file)
        else:
            # A workbook cannot be written to a pipe.
            with tempfile.TemporaryFile() as file:
                results.write(batch, format_, file)
                file.seek(0)
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        return _code_of(batch)

    def _cancel(self, *, id: str, wait: bool, **_: Any) -> int:
        batch = _find(id)
        batch.cancel()
        if wait:
            self._wait(batch)
        self.stdout.write(_words(batch))
        return 0

    def _wait(self, batch: Batch) -> int:
        while not batch.is_ended:
            time.sleep(POLL_S)
            batch.refresh_from_db()
            if self.stderr.isatty():
                self.stderr.write(f"\r{_words(batch)}", ending="", style_func=str)
        return _code_of(batch)


class _RawHelpFormatter(DjangoHelpFormatter):
    """Keeps the line breaks of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))


def _find(id: str) -> Batch:
    hex_id = id.removeprefix(Batch.WIRE_PREFIX)
    digits = hex_id.replace("-", "")
    is_id = len(digits) == 32 and all(each in "0123456789abcdef" for each in digits.lower())
    batch = Batch.objects.exclude(status=Batch.Status.STORING).filter(pk=digits).first() if is_id else None
    if batch is None:
        raise CommandError(
            f"There is no batch {id!r}. `manage.py batch status` lists them.", returncode=Exit.USAGE
        )
    return batch


def _parameters(schema: Path | None) -> dict[str, Any]:
    if schema is None:
        return {}
    try:
        value = json.loads(schema.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"The schema cannot be read: {error}", returncode=Exit.USAGE) from error
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": value}}}


def _code_of(batch: Batch) -> int:
    if not batch.is_ended:
        return Exit.UNAVAILABLE
    return Exit.COMPLETE if batch.completed == batch.total else Exit.INTERRUPTED


def _words(batch: Batch) -> str:
    text = f"{batch.status}: {batch.completed} of {batch.total} completed, {batch.failed} failed"
    return f"{text}. {batch.error_message}" if batch.error_message else text


def _as_json(batch: Batch) -> dict[str, Any]:
    names = ("name", "status", "runner", "total", "completed", "failed", "input_tokens", "output_tokens")
    values = {name: getattr(batch, name) for name in names}
    cost: Decimal | None = batch.cost_usd
    return {
        "id": batch.wire_id,
        **values,
        "model": batch.model_name,
        "cost_usd": None if cost is None else float(cost),
        "error": batch.error_message or None,
    }
