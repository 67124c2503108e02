"""What the first chat page weighs on the wire, file by file, as Chromium's network log has it.

python -m benchmarks.weight
"""

import urllib.parse
from dataclasses import dataclass

from benchmarks import stage
from benchmarks.browser import chromium


@dataclass
class Load:
    url: str
    # As it came over the wire: the compressed body and the response's headers.
    size_bytes: int = 0


def loads_of(session: stage.Session) -> list[Load]:
    """Open the page with an empty cache and return everything that was fetched."""
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
    with stage.provider() as provider, stage.server(provider.base_url) as site:
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
            for load in sorted(loads, key=lambda each: -each.size_bytes)
        ]
    stage.table("The first chat page", rows)


if __name__ == "__main__":
    main()
