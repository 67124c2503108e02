"""Run all benchmarks, or the given ones: `python -m benchmarks [first_text crowd …]`."""

import argparse
import os
import subprocess
import sys

from benchmarks.report import FILE_VARIABLE
from tests.support.serving import BASE_DIR

NAMES = (
    "review",
    "first_text",
    "attachments",
    "crowd",
    "weight",
    "memory",
    "slow_reader",
    "hostile_sockets",
    "hostile_text",
    "hostile_posts",
    "long_conversation",
    "interaction",
    "durability",
    "exchange",
    "index_share",
    "rush",
    "streams",
    "flood",
    "history",
    "page",
    "idle",
    "erase",
    "replay",
    "beside_api",
    "large_request",
    "batch_upload",
    "outage",
    "import_chatgpt",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=NAMES)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    env = dict(os.environ)
    if options.write:
        env[FILE_VARIABLE] = str(BASE_DIR / "docs" / "performance.md")
    # Each runs in its own process, so that it does not affect the figures of the next one.
    failed = [
        name
        for name in options.names
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], env=env).returncode
    ]
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
