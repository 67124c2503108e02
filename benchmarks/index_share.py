"""Measure which share of an exchange's CPU the search index takes: servers with and without it, alternately.

    python -m benchmarks.index_share

Exchanges as in exchange.py. A share of CPU, so other programs on the machine matter little.
"""

import asyncio
import contextlib
import statistics
import sys

from benchmarks import environment, exchange, report

SHARE_MAX = 0.15
ROUNDS = 5


def main() -> None:
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(environment.provider())
        sites = {
            name: stack.enter_context(environment.server(provider.base_url, arguments=arguments))
            for name, arguments in (("with", ["manage.py"]), ("without", ["-m", "benchmarks.without_index"]))
        }
        sessions = {name: environment.sign_in_many(site, exchange.USERS) for name, site in sites.items()}
        cpu_ms: dict[str, list[float]] = {name: [] for name in sites}
        for number in range(ROUNDS):
            for name, site in sites.items():
                measured, _wait = asyncio.run(exchange.exchange(site, sessions[name], f"round {number}"))
                cpu_ms[name].append(measured)
    medians = {name: statistics.median(values) for name, values in cpu_ms.items()}
    share = 1 - medians["without"] / medians["with"]
    rows = [
        (f"{name} the index", ", ".join(f"{value:.2f} ms CPU" for value in values), "")
        for name, values in cpu_ms.items()
    ]
    is_met = share < SHARE_MAX
    wanted = f"< {SHARE_MAX:.0%}" + ("" if is_met else ", MISSED")
    rows.append(("share of the index, medians", f"{share:.1%}", wanted))
    report.table("The search index in an exchange", rows)
    if not is_met:
        sys.exit(1)


if __name__ == "__main__":
    main()
