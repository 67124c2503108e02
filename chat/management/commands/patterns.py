"""`manage.py patterns`: the same prompts by every pattern, and the table of how each did."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from decimal import Decimal
from typing import Any, NoReturn

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from chat.management.ask import benchmark as trial
from chat.management.ask.process import who_and_what
from chat.management.exits import Exit
from chat.usage import patterns

COLUMNS = (
    "pattern",
    "first text",
    "p95",
    "to the end",
    "p95",
    "answers/s",
    "tokens/s",
    "cost",
    "failed",
    "complexity",
    "best for",
)
DAYS_OF_BATCHES = 30
UNKNOWN = "unknown"


class Command(BaseCommand):
    help = (
        "Ask the same prompts one after the other (sync), at once (async) and while somebody reads along "
        "(streaming), and print how long each took and what it cost. Real calls to the configured model: "
        "it says what they may cost and asks first."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--prompts", type=_count, default=5, metavar="N", help="default: %(default)s")
        parser.add_argument("--model", metavar="NAME", help="default: the site's; ENDPOINT/NAME if need be")
        parser.add_argument("--user", metavar="NAME", help="who asks (default: the owner)")
        parser.add_argument(
            "--concurrency", type=_count, metavar="K", help="of async (default: the endpoint's slots)"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask before it costs something")
        parser.add_argument("--json", dest="is_json", action="store_true", help="print JSON, not a table")

    def handle(self, *, prompts: int, is_json: bool, yes: bool, **options: Any) -> NoReturn:
        user, model = who_and_what(options["user"], options["model"])
        try:
            batch = patterns.from_logs(DAYS_OF_BATCHES)[patterns.BATCH]
            connections.close_all()  # what follows uses the database from other threads
            plan = trial.Plan(user, model, prompts, options["concurrency"] or model.endpoint.slots)
            self._confirm(plan, is_asked=not yes)
            results = asyncio.run(trial.run(plan, tell=self._say))
        except KeyboardInterrupt:
            sys.exit(Exit.CTRL_C)
        except DatabaseError as error:
            words = f"The database cannot be used: {str(error).strip()}"
            raise CommandError(words, returncode=Exit.FAULT) from error
        if is_json:
            self.stdout.write(json.dumps(_as_json(plan, results, batch), indent=2))
        else:
            self._print(plan, results, batch)
        is_any_complete = any(result.measured.answers > result.measured.failures for result in results)
        sys.exit(Exit.COMPLETE if is_any_complete else Exit.UNAVAILABLE)

    def _confirm(self, plan: trial.Plan, *, is_asked: bool) -> None:
        self._say(
            f"{plan.calls} calls to {plan.model} at {plan.model.endpoint}: about {plan.input_tokens} tokens "
            f"in, at most {plan.output_tokens} out; cost at most {_dollars(plan.cost_usd)}."
        )
        if not is_asked or plan.cost_usd == 0:
            return
        if not sys.stdin.isatty():
            raise CommandError("Say --yes if that is all right.", returncode=Exit.USAGE)
        self.stderr.write("Go on? [y/N] ", style_func=str, ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing was asked.", returncode=Exit.USAGE)

    def _print(self, plan: trial.Plan, results: list[trial.Result], batch: patterns.Measured | None) -> None:
        rows = [COLUMNS, *(_cells(each.pattern, each.measured, each) for each in results)]
        rows.append(_cells(patterns.BATCH, batch, None))
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        for row in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write(line.rstrip())
        self.stdout.write(
            f"\nMeasured (*): {plan.prompts} prompts each, {plan.model} at {plan.model.endpoint}, at most "
            f"{plan.concurrency} at once in async. Times are medians and 95th percentiles of complete "
            "answers, in seconds; sync and async give their text at the end. Complexity and “best for” are "
            "text, the rest is measured."
        )

    def _say(self, words: str) -> None:
        self.stderr.write(words, style_func=str)


def _cells(
    pattern: patterns.Pattern, measured: patterns.Measured | None, result: trial.Result | None
) -> tuple[str, ...]:
    words = (str(pattern.complexity), str(pattern.best_for))
    if measured is None:
        return (str(pattern.label), "no records yet", *[""] * 7, *words)
    return (
        str(pattern.label),
        _starred(measured.first_median_s),
        _starred(measured.first_p95_s),
        _starred(measured.end_median_s),
        _starred(measured.end_p95_s),
        _starred(result.answers_per_s if result else None),
        _starred(result.tokens_per_s if result else measured.tokens_per_s),
        _dollars(measured.cost_usd) + ("*" if measured.cost_usd is not None else ""),
        f"{measured.failures} of {measured.answers}*",
        *words,
    )


def _starred(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}*"


def _dollars(value: Decimal | None) -> str:
    return f"{UNKNOWN} (no prices)" if value is None else f"${value:.4f}"


def _as_json(
    plan: trial.Plan, results: list[trial.Result], batch: patterns.Measured | None
) -> dict[str, Any]:
    rows = [(each.pattern, each.measured, each) for each in results]
    return {
        "model": plan.model.name,
        "endpoint": plan.model.endpoint.name,
        "prompts": plan.prompts,
        "concurrency": plan.concurrency,
        "patterns": [_row(*row) for row in [*rows, (patterns.BATCH, batch, None)]],
    }


def _row(
    pattern: patterns.Pattern, measured: patterns.Measured | None, result: trial.Result | None
) -> dict[str, Any]:
    figures: dict[str, Any] | None = None
    if measured is not None:
        figures = asdict(measured)
        cost = figures["cost_usd"]
        figures["cost_usd"] = None if cost is None else float(cost)
    if figures is not None and result is not None:
        figures |= {"answers_per_s": result.answers_per_s, "tokens_per_s": result.tokens_per_s}
    return {
        "pattern": pattern.name,
        "measured": figures,
        "complexity": str(pattern.complexity),
        "best_for": str(pattern.best_for),
    }


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 1000:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 to 1000")
