"""Figures of a benchmark: statistics, and the printed table."""

import os
import platform
import statistics
import sys
from collections.abc import Sequence


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
    return (
        f"{cores} cores, load {load}, Python {platform.python_version()}, SQLite WAL NORMAL, {sys.platform}"
    )


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a Markdown table of (what, figure, wanted), with the current conditions above it."""
    print(f"\n## {title}\n\n{conditions()}\n")
    widths = [max(len(row[column]) for row in [("what", "figure", "wanted"), *rows]) for column in range(3)]
    lines = [("what", "figure", "wanted"), ("-" * widths[0], "-" * widths[1], "-" * widths[2]), *rows]
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    sys.stdout.flush()
