"""`manage.py patterns`: run the same prompts by each execution pattern, and print a comparison."""

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

from chat.management.ask import benchmark
from chat.management.ask.benchmark import BenchmarkPlan, PatternResult
from chat.management.ask.process import find_user_and_model
from chat.management.exits import Exit
from chat.usage import patterns

COLUMNS = (
    "pattern",
    "first text",
    "p95",
    "complete",
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
        "Run the same prompts one after another (sync), concurrently (async) and streamed, and print times "
        "and costs. This makes real calls to the model; the maximum cost is shown first, for confirmation."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--prompts", type=_count, default=5, metavar="N", help="default: %(default)s")
        parser.add_argument(
            "--model", metavar="NAME", help="model name or ENDPOINT/NAME (default: the default model)"
        )
        parser.add_argument("--user", metavar="NAME", help="the user who asks (default: the owner)")
        parser.add_argument(
            "--concurrency",
            type=_count,
            metavar="K",
            help="concurrent calls in the async pattern (default: the slots of the endpoint)",
        )
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        parser.add_argument("--json", dest="is_json", action="store_true", help="print JSON, not a table")

    def handle(self, *, prompts: int, is_json: bool, yes: bool, **options: Any) -> NoReturn:
        user, model = find_user_and_model(options["user"], options["model"])
        try:
            batch = patterns.from_logs(DAYS_OF_BATCHES)[patterns.BATCH]
            connections.close_all()  # other threads use the database from here on
            plan = BenchmarkPlan(user, model, prompts, options["concurrency"] or model.endpoint.slots)
            self._confirm(plan, is_confirmed=yes)
            results = asyncio.run(benchmark.run(plan, report=self._report))
        except KeyboardInterrupt:
            sys.exit(Exit.CTRL_C)
        except DatabaseError as error:
            message = f"The database cannot be used: {str(error).strip()}"
            raise CommandError(message, returncode=Exit.FAULT) from error
        if is_json:
            self.stdout.write(json.dumps(_as_json(plan, results, batch), indent=2))
        else:
            self._print(plan, results, batch)
        is_any_complete = any(result.measured.answers > result.measured.failures for result in results)
        sys.exit(Exit.COMPLETE if is_any_complete else Exit.UNAVAILABLE)

    def _confirm(self, plan: BenchmarkPlan, *, is_confirmed: bool) -> None:
        self._report(
            f"{plan.calls} calls to {plan.model} at {plan.model.endpoint}: about {plan.input_tokens} input "
            f"tokens, at most {plan.output_tokens} output tokens; cost at most {_dollars(plan.cost_usd)}."
        )
        if is_confirmed or plan.cost_usd == 0:
            return
        if not sys.stdin.isatty():
            raise CommandError("Confirm with --yes.", returncode=Exit.USAGE)
        self.stderr.write("Continue? [y/N] ", style_func=str, ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CommandError("Cancelled. No calls were made.", returncode=Exit.USAGE)

    def _print(
        self, plan: BenchmarkPlan, results: list[PatternResult], batch: patterns.Measured | None
    ) -> None:
        rows = [COLUMNS, *(_cells(result.pattern, result.measured, result) for result in results)]
        rows.append(_cells(patterns.BATCH, batch, None))
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        for row in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write(line.rstrip())
        self.stdout.write(
            f"\n* Measured with {plan.prompts} prompts per pattern on {plan.model} at {plan.model.endpoint}. "
            f"Async: up to {plan.concurrency} concurrent calls. Times are medians and 95th percentiles of "
            "complete answers, in seconds. With sync and async, the client receives the text at the end. "
            "Complexity and “best for” are descriptions."
        )

    def _report(self, message: str) -> None:
        self.stderr.write(message, style_func=str)


def _cells(
    pattern: patterns.Pattern, measured: patterns.Measured | None, result: PatternResult | None
) -> tuple[str, ...]:
    descriptions = (str(pattern.complexity), str(pattern.best_for))
    if measured is None:
        return (str(pattern.label), "no data yet", *[""] * 7, *descriptions)
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
        *descriptions,
    )


def _starred(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}*"


def _dollars(value: Decimal | None) -> str:
    return f"{UNKNOWN} (no prices)" if value is None else f"${value:.4f}"


def _as_json(
    plan: BenchmarkPlan, results: list[PatternResult], batch: patterns.Measured | None
) -> dict[str, Any]:
    rows = [(result.pattern, result.measured, result) for result in results]
    return {
        "model": plan.model.name,
        "endpoint": plan.model.endpoint.name,
        "prompts": plan.prompts,
        "concurrency": plan.concurrency,
        "patterns": [_row(*row) for row in [*rows, (patterns.BATCH, batch, None)]],
    }


def _row(
    pattern: patterns.Pattern, measured: patterns.Measured | None, result: PatternResult | None
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
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
