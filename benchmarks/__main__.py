"""Run all benchmarks, or those that are named: `python -m benchmarks [first_text crowd …]`."""

import argparse
import subprocess
import sys

NAMES = (
    "first_text",
    "crowd",
    "weight",
    "memory",
    "slow_reader",
    "long_conversation",
    "durability",
    "erase",
    "replay",
    "beside_api",
    "large_request",
    "outage",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=NAMES)
    # A process each: what one leaves behind is not in the next one's figures.
    failed = [
        name
        for name in parser.parse_args().names
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode
    ]
    if failed:
        sys.exit(f"These did not end well: {', '.join(failed)}")


if __name__ == "__main__":
    main()
