"""Run all scenarios at full size, or the given ones, and print a table."""

import argparse
import asyncio
import contextlib
import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos import scenarios
from tests.chaos.bulk import bulk
from tests.chaos.environment import Environment, Report
from tests.chaos.files import files
from tests.support import environment as process_environment
from tests.support.services import run_postgres, run_redis
from tests.support.serving import prepare, providing, serving

# Each scenario with its full size and the unit of that size.
SCENARIOS: dict[str, tuple[Callable[[Environment, int], Coroutine[Any, Any, Report]], int, str]] = {
    "cuts": (scenarios.cuts, 500, "answers whose stream breaks"),
    "drops": (scenarios.drops, 1000, "sockets cut"),
    "doubles": (scenarios.doubles, 200, "questions sent five times"),
    "tabs": (scenarios.tabs, 8, "users with three tabs each"),
    "kill": (scenarios.kill, 100, "kill -9"),
    "term": (scenarios.term, 20, "SIGTERM"),
    "freeze": (scenarios.freeze, 30, "seconds of SIGSTOP"),
    "files": (files, 100, "kill -9 during uploads and imports"),
    "bulk": (bulk, 1000, "rows of a batch beside chats"),
    "bulk_workers": (bulk, 1000, "rows of a batch beside chats, with a worker"),
}
# Scenarios that need PostgreSQL, and those that need Redis as well.
ON_POSTGRES = {"freeze", "bulk_workers"}
WITH_REDIS = {"bulk_workers"}
COLUMNS = ("scenario", "size", "answers", "continued", "restarted", "sockets lost", "failures", "measured")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=[*SCENARIOS])
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="repeat a run")
    for name, (_scenario, size, unit) in SCENARIOS.items():
        parser.add_argument(f"--{name}", type=int, default=size, metavar="N", help=f"{unit} ({size})")
    options = parser.parse_args()
    process_environment.clean()
    cores, python = os.cpu_count(), platform.python_version()
    print(f"Seed {options.seed}, {datetime.now(UTC):%Y-%m-%d}, {cores} cores, Python {python}.\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    failures = 0
    for name in options.scenarios:
        scenario, _size, unit = SCENARIOS[name]
        size = getattr(options, name)
        with _environment(options.seed, name) as environment:
            report = asyncio.run(scenario(environment, size))
        print(_row(report, f"{size} {unit}"), flush=True)
        for failure in report.failures[:20]:
            print(f"{name}: {failure}", file=sys.stderr)
        failures += len(report.failures)
    return 1 if failures else 0


@contextlib.contextmanager
def _environment(seed: int, name: str) -> Iterator[Environment]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatsite-chaos-")))
        # Programs print their logs when they stop; standard output is for the table only.
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        url = stack.enter_context(run_postgres()).create() if name in ON_POSTGRES else ""
        redis_url = stack.enter_context(run_redis()) if name in WITH_REDIS else ""
        for each in ("prepared", "servers"):
            (folder / each).mkdir()
        provider = stack.enter_context(providing(folder / "provider"))
        serve = stack.enter_context(serving(folder / "servers", prepare(folder / "prepared")))
        environment = Environment(provider, serve, seed, database_url=url, redis_url=redis_url)
        environment.open(CHATSITE_PROCESS_DEAD_AFTER_S="10")
        yield environment


def _row(report: Report, size: str) -> str:
    answers = ", ".join(f"{count} {status}" for status, count in sorted(report.answers.items()))
    measured = "; ".join(f"{name}: {value}" for name, value in (report.figures | report.usage).items())
    failures = len(report.failures)
    cells = (
        report.scenario,
        size,
        answers,
        report.continued,
        report.restarted,
        report.sockets_lost,
        failures,
    )
    return f"| {' | '.join(map(str, cells))} | {measured} |"


if __name__ == "__main__":
    sys.exit(main())
