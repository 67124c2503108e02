"""Measure 50 whole answers as fast as the provider can send them: server CPU per delta, deltas per second.

    python -m benchmarks.flood

Beside a bare relay (relay.py) that stores nothing; the servers are measured alternately.
"""

import asyncio
import time

from benchmarks import environment, report
from benchmarks.durability import FLOOD_DELTAS, STREAMS, flood, relay
from tests.support.programs import Program
from tests.support.serving import Session


def measure(program: Program, sessions: list[Session]) -> tuple[float, float]:
    """Return CPU microseconds per delta, and deltas per second."""
    started_s = time.monotonic()
    cpu_us, _joined = asyncio.run(flood(program, sessions))
    return cpu_us, STREAMS * FLOOD_DELTAS / (time.monotonic() - started_s)


def main() -> None:
    figures: dict[str, list[tuple[float, float]]] = {"Chatsite": [], "relay": []}
    with environment.provider() as provider, relay(provider.base_url) as (bare, guest):
        for _ in range(environment.REPEATS):
            with environment.server(provider.base_url) as site:
                figures["Chatsite"].append(measure(site, environment.sign_in_many(site, STREAMS)))
            figures["relay"].append(measure(bare, [guest] * STREAMS))
    rows = [
        (name, ", ".join(f"{cpu_us:.0f} µs a delta, {rate:,.0f} deltas/s" for cpu_us, rate in rounds), "")
        for name, rounds in figures.items()
    ]
    cpu, rates = (
        report.median([ours[n] / bare[n] for ours, bare in zip(*figures.values(), strict=True)])
        for n in (0, 1)
    )
    rows += [
        ("CPU per delta, ÷ relay", f"{cpu:.2f}", "≤ 0.27"),
        ("deltas per second, ÷ relay", f"{rates:.1f}", "≥ 4"),
    ]
    report.table(f"Floods: {STREAMS} answers of {FLOOD_DELTAS} deltas at full speed", rows)


if __name__ == "__main__":
    main()
