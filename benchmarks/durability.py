"""Measure what it costs to store text before it is shown: server CPU per delta, Chatsite ÷ a bare relay.

    python -m benchmarks.durability

Both use the same provider and client; the relay (relay.py) stores nothing. Streams: 50 users read 50
answers of 20 deltas per second, measured without their start and end. Floods: 50 whole answers as fast as
the provider can send them. The two servers are measured alternately.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator

from benchmarks import environment, report
from benchmarks.client import Answer, open_clients
from tests.support.programs import Program, free_port, is_listening
from tests.support.serving import BASE_DIR, Session

STREAMS = 50
RATE = 20
SETTLE_S = 3
WATCH_S = 10
FLOOD_DELTAS = 800
STREAM_DELTAS = RATE * (WATCH_S + 2 * SETTLE_S)
STREAM = f"[[rate={RATE} deltas={STREAM_DELTAS}]]"
FLOOD = f"[[rate=0 deltas={FLOOD_DELTAS}]]"
# The first question to a process imports the SDK.
WARM_UP = "warm up [[deltas=5 rate=0]]"


@contextlib.contextmanager
def relay(provider_url: str) -> Iterator[tuple[Program, Session]]:
    """Run the relay as a process."""
    port = free_port()
    env = {**os.environ, "OPENAI_BASE_URL": provider_url, "RELAY_PORT": str(port)}
    with environment.folder() as path:
        argv = [sys.executable, "-m", "benchmarks.relay"]
        program = Program(argv, folder=path, env=env, cwd=BASE_DIR)
        try:
            program.start()
            program.until(lambda: is_listening(port), "the relay to listen")
            yield program, Session(f"http://127.0.0.1:{port}", {})
        finally:
            with contextlib.redirect_stdout(None):
                program.stop()


async def watch_streams(program: Program, sessions: list[Session]) -> tuple[float, float]:
    """Return CPU microseconds per delta of running streams, and deltas per frame."""
    async with open_clients(sessions) as clients:
        await clients[0].ask(WARM_UP)
        answers = [Answer() for _ in clients]
        asking = [
            asyncio.create_task(client.ask(f"{number} {STREAM}", answer))
            for number, (client, answer) in enumerate(zip(clients, answers, strict=True))
        ]
        while not all(answer.texts for answer in answers):  # noqa: ASYNC110 - another process sends them
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_S)
        cpu, before = (
            environment.cpu_s(program.pid),
            [(answer.frames, len(answer.text)) for answer in answers],
        )
        await asyncio.sleep(WATCH_S)
        cpu, after = (
            environment.cpu_s(program.pid) - cpu,
            [(answer.frames, len(answer.text)) for answer in answers],
        )
        assert not any(answer.ended for answer in answers), "an answer ended during the measurement"
        await asyncio.gather(*asking)
        assert all(answer.outcome == "completed" for answer in answers)
        frames = sum(end - begin for (begin, _), (end, _) in zip(before, after, strict=True))
        deltas = sum(
            STREAM_DELTAS * (end - begin) / len(answer.text)
            for (_, begin), (_, end), answer in zip(before, after, answers, strict=True)
        )
        return cpu / deltas * 1e6, deltas / frames


async def flood(program: Program, sessions: list[Session]) -> tuple[float, float]:
    """Return CPU microseconds per delta of answers at full speed, and deltas per frame."""
    async with open_clients(sessions) as clients:
        await clients[0].ask(WARM_UP)
        cpu = environment.cpu_s(program.pid)
        answers = await asyncio.gather(*(client.ask(f"{n} {FLOOD}") for n, client in enumerate(clients)))
        cpu = environment.cpu_s(program.pid) - cpu
        assert all(answer.outcome == "completed" for answer in answers)
        frames = sum(answer.frames for answer in answers)
        return cpu / (STREAMS * FLOOD_DELTAS) * 1e6, STREAMS * FLOOD_DELTAS / frames


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    with environment.provider() as provider, relay(provider.base_url) as (relaying, guest):
        for name, measure, wanted in (
            (f"{STREAMS} streams × {RATE} deltas/s", watch_streams, "≤ 0.75"),
            (f"flood, {STREAMS} × {FLOOD_DELTAS} deltas", flood, "≤ 0.33"),
        ):
            ours, bare = [], []
            for _ in range(environment.REPEATS):
                with environment.server(provider.base_url) as site:
                    ours.append(asyncio.run(measure(site, environment.sign_in_many(site, STREAMS))))
                bare.append(asyncio.run(measure(relaying, [guest] * STREAMS)))
            ratios = [us / them for (us, _), (them, _) in zip(ours, bare, strict=True)]
            for server, runs in (("Chatsite", ours), ("relay", bare)):
                cpu, joined = (report.median(column) for column in zip(*runs, strict=True))
                rows.append(
                    (f"{name}: {server}", f"{cpu:.0f} µs CPU per delta, {joined:.1f} deltas per frame", "")
                )
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            rows.append((f"{name}: ratio", f"{report.median(ratios):.2f} ({each})", wanted))
    report.table("Durability, Chatsite ÷ a relay that stores nothing", rows)


if __name__ == "__main__":
    main()
