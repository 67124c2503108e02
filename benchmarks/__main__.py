"""Run all benchmarks, or the given ones: `python -m benchmarks [first_text crowd …]`."""

import argparse
import subprocess
import sys

NAMES = (
    "review",
    "first_text",
    "crowd",
    "weight",
    "memory",
    "slow_reader",
    "hostile_sockets",
    "hostile_text",
    "hostile_posts",
    "long_conversation",
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
    # Each runs in its own process, so that it does not affect the figures of the next one.
    failed = [
        name
        for name in parser.parse_args().names
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode
    ]
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
