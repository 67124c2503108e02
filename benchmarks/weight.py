"""Measure the size of the first chat page on the network, file by file, from Chromium's network log.

python -m benchmarks.weight
"""

import urllib.parse
from dataclasses import dataclass

from benchmarks import environment, report
from benchmarks.browser import chromium
from tests.support.serving import Session


@dataclass
class Load:
    url: str
    # On the network: the compressed body and the response headers.
    size_bytes: int = 0


def loads_of(session: Session) -> list[Load]:
    """Open the page with an empty cache and return all requests."""
    loads: dict[str, Load] = {}
    with chromium() as browser:
        context = browser.new_context()
        session.enter(context)
        page = context.new_page()
        log = context.new_cdp_session(page)
        log.send("Network.enable")
        log.on(
            "Network.requestWillBeSent",
            lambda event: loads.update({event["requestId"]: Load(event["request"]["url"])}),
        )

        def count(event: dict) -> None:
            if event["requestId"] in loads:
                loads[event["requestId"]].size_bytes = int(event["encodedDataLength"])

        log.on("Network.loadingFinished", count)
        page.goto(session.base_url + "/", wait_until="networkidle")
        page.wait_for_timeout(1_000)
        context.close()
    return [load for load in loads.values() if not load.url.startswith("data:")]


def main() -> None:
    with environment.provider() as provider, environment.server(provider.base_url) as site:
        loads = loads_of(site.sign_in("ada"))
        total = sum(load.size_bytes for load in loads)
        elsewhere = [load.url for load in loads if not load.url.startswith(site.base_url)]
        rows = [
            (
                "all, compressed, headers included",
                f"{total / 1000:.1f} kB in {len(loads)} requests",
                "< 100 kB",
            ),
            ("requests to other hosts", str(len(elsewhere)) + " ".join(["", *elsewhere]), "0"),
        ]
        rows += [
            (urllib.parse.urlsplit(load.url).path, f"{load.size_bytes:,} B", "")
            for load in sorted(loads, key=lambda load: -load.size_bytes)
        ]
    report.table("The first chat page", rows)


if __name__ == "__main__":
    main()
