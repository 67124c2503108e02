"""Figures of a benchmark: statistics, and the printed table."""

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

FILE_VARIABLE = "CHATSITE_BENCH_FILE"


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def quantile(values: Sequence[float], fraction: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def spread(values: Sequence[float]) -> str:
    """Return the median of seconds in ms, with the 95th percentile and the maximum."""
    return f"{ms(median(values))} (p95 {ms(quantile(values, 0.95))}, max {ms(max(values))})"


def conditions() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    is_postgres = os.environ.get("DATABASE_URL", "").startswith("postgres")
    database = "PostgreSQL" if is_postgres else "SQLite WAL NORMAL"
    return f"{cores} cores, load {load}, Python {platform.python_version()}, {database}, {sys.platform}"


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a Markdown table of (what, figure, wanted), with the current conditions above it.

    With CHATSITE_BENCH_FILE it also replaces the section of this title in that Markdown file.
    """
    widths = [max(len(row[column]) for row in [("what", "figure", "wanted"), *rows]) for column in range(3)]
    lines = [("what", "figure", "wanted"), ("-" * widths[0], "-" * widths[1], "-" * widths[2]), *rows]
    drawn = "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
    section = f"## {title}\n\n{conditions()}\n\n{drawn}\n"
    print(f"\n{section}", end="", flush=True)
    if path := os.environ.get(FILE_VARIABLE):
        _replace_section(Path(path), f"## {title}\n", section)


def _replace_section(file: Path, heading: str, section: str) -> None:
    text = file.read_text()
    start = text.find(f"\n{heading}") + 1
    if not start:
        file.write_text(f"{text.rstrip()}\n\n{section}")
        return
    end = text.find("\n## ", start) + 1 or len(text)
    rest = text[end:]
    file.write_text(text[:start] + section + (f"\n{rest}" if rest else ""))
