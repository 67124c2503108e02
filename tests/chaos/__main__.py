"""Run all storms in full force, or those that are named, and print a table."""

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

from tests.chaos import storms
from tests.chaos.stage import Report, Stage
from tests.support import environment
from tests.support.services import run_postgres
from tests.support.serving import prepare, providing, serving

# Of each storm: its full force, and what that counts.
STORMS: dict[str, tuple[Callable[[Stage, int], Coroutine[Any, Any, Report]], int, str]] = {
    "cuts": (storms.cuts, 500, "answers whose stream breaks"),
    "drops": (storms.drops, 1000, "sockets cut"),
    "doubles": (storms.doubles, 200, "questions sent five times"),
    "tabs": (storms.tabs, 8, "people with three tabs each"),
    "kill": (storms.kill, 100, "kill -9"),
    "term": (storms.term, 20, "SIGTERM"),
    "freeze": (storms.freeze, 30, "seconds of SIGSTOP"),
}
COLUMNS = ("storm", "force", "answers", "went on", "began anew", "sockets lost", "wrong", "measured")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("storms", nargs="*", choices=[*STORMS, []], default=[*STORMS])
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="repeat a run")
    for name, (_storm, force, what) in STORMS.items():
        parser.add_argument(f"--{name}", type=int, default=force, metavar="N", help=f"{what} ({force})")
    asked = parser.parse_args()
    environment.clean()
    cores, python = os.cpu_count(), platform.python_version()
    print(f"Seed {asked.seed}, {datetime.now(UTC):%Y-%m-%d}, {cores} cores, Python {python}.\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    wrong = 0
    for name in asked.storms:
        storm, _force, what = STORMS[name]
        force = getattr(asked, name)
        with _stage(asked.seed, on_postgres=name == "freeze") as stage:
            report = asyncio.run(storm(stage, force))
        print(_row(report, f"{force} {what}"), flush=True)
        for complaint in report.complaints[:20]:
            print(f"{name}: {complaint}", file=sys.stderr)
        wrong += len(report.complaints)
    return 1 if wrong else 0


@contextlib.contextmanager
def _stage(seed: int, *, on_postgres: bool) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatsite-chaos-")))
        # Programs print their logs when they are stopped; the table stands alone.
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        url = stack.enter_context(run_postgres()).create() if on_postgres else ""
        for name in ("prepared", "servers"):
            (folder / name).mkdir()
        provider = stack.enter_context(providing(folder / "provider"))
        serve = stack.enter_context(serving(folder / "servers", prepare(folder / "prepared")))
        stage = Stage(provider, serve, seed, database_url=url)
        stage.open(CHATSITE_PROCESS_DEAD_AFTER_S="10")
        yield stage


def _row(report: Report, force: str) -> str:
    answers = ", ".join(f"{count} {status}" for status, count in sorted(report.answers.items()))
    measured = "; ".join(f"{name}: {value}" for name, value in report.figures.items())
    wrong = len(report.complaints)
    cells = (report.storm, force, answers, report.continued, report.restarted, report.sockets_lost, wrong)
    return f"| {' | '.join(map(str, cells))} | {measured} |"


if __name__ == "__main__":
    sys.exit(main())
