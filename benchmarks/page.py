"""Measure what the requests of a page cost: server CPU of each kind of request, one after the other.

    python -m benchmarks.page

What an open page asks for when an answer ends is part of exchange.py.
"""

import asyncio

from benchmarks import environment, report
from benchmarks.client import open_client
from tests.support.programs import Program
from tests.support.serving import Session

REQUESTS = 200
TURNS = 10
FRAGMENT = {"HX-Request": "true"}


async def talk(session: Session) -> tuple[str, int]:
    """Hold a conversation of TURNS questions; return its id, and that of its last answer."""
    conversation, message = None, 0
    async with open_client(session) as client:
        for number in range(TURNS):
            answer = await client.ask(f"{number} [[deltas=40 rate=0]]", conversation=conversation)
            conversation, message = answer.ids["conversation"], answer.ids["message"]
    assert conversation is not None
    return conversation, message


def cpu_ms(program: Program, session: Session, path: str, *, is_fragment: bool = False) -> float:
    """Return CPU milliseconds of the server per request."""
    headers = FRAGMENT if is_fragment else {}
    for _ in range(REQUESTS // 10):
        session.get(path, headers=headers)
    cpu_s = environment.cpu_s(program.pid)
    statuses = {session.get(path, headers=headers).status for _ in range(REQUESTS)}
    cpu_s = environment.cpu_s(program.pid) - cpu_s
    assert len(statuses) == 1, statuses
    return cpu_s / REQUESTS * 1000


def main() -> None:
    with environment.provider() as provider, environment.server(provider.base_url) as site:
        session = site.sign_in("ada")
        conversation, message = asyncio.run(talk(session))
        requests = [
            ("/healthz", "/healthz", False, "≤ 0.8 ms"),
            ("a message, as a fragment", f"/m/{message}/", True, "≤ 3 ms"),
            ("the sidebar, as a fragment", "/sidebar/", True, "≤ 3 ms"),
            (f"the page of a conversation of {TURNS} turns", f"/c/{conversation}/", False, "≤ 6 ms"),
            ("the empty page", "/", False, "≤ 6 ms"),
        ]
        measured: dict[str, list[float]] = {name: [] for name, *_ in requests}
        for _ in range(environment.REPEATS):
            for name, path, is_fragment, _wanted in requests:
                measured[name].append(cpu_ms(site, session, path, is_fragment=is_fragment))
    wanted = {name: figure for name, _path, _is_fragment, figure in requests}
    rows = [
        (name, ", ".join(f"{value:.1f} ms" for value in values), wanted[name])
        for name, values in measured.items()
    ]
    report.table("CPU of one request", rows)


if __name__ == "__main__":
    main()
