"""What it costs that text is stored before it is shown: the server's CPU a delta, ours ÷ a bare relay's.

    python -m benchmarks.durability

Same provider, same client; the relay (relay.py) stores nothing. Streams: what 50 people cause who watch
50 answers of 20 deltas a second, without their beginning and end. Floods: 50 answers as fast as the
provider can, all of it. The two servers take turns.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator

from benchmarks import stage
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
# The first ask of a process imports the SDK.
WARM_UP = "warm up [[deltas=5 rate=0]]"


@contextlib.contextmanager
def relay(provider_url: str) -> Iterator[tuple[Program, Session]]:
    """Run the relay as a process of its own."""
    port = free_port()
    env = {**os.environ, "OPENAI_BASE_URL": provider_url, "RELAY_PORT": str(port)}
    with stage.folder() as place:
        argv = [sys.executable, "-m", "benchmarks.relay"]
        program = Program(argv, folder=place, env=env, cwd=BASE_DIR)
        try:
            program.start()
            program.until(lambda: is_listening(port), "the relay to listen")
            yield program, Session(f"http://127.0.0.1:{port}", {})
        finally:
            with contextlib.redirect_stdout(None):
                program.stop()


async def watch_streams(program: Program, sessions: list[Session]) -> tuple[float, float]:
    """Return CPU microseconds a delta of running streams, and deltas a frame."""
    async with stage.pages(sessions) as pages:
        await pages[0].ask(WARM_UP)
        answers = [stage.Answer() for _ in pages]
        asking = [
            asyncio.create_task(page.ask(f"{number} {STREAM}", answer))
            for number, (page, answer) in enumerate(zip(pages, answers, strict=True))
        ]
        while not all(answer.texts for answer in answers):  # noqa: ASYNC110 - what they wait for is out there
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_S)
        cpu, before = stage.cpu_s(program.pid), [(answer.frames, len(answer.text)) for answer in answers]
        await asyncio.sleep(WATCH_S)
        cpu, after = stage.cpu_s(program.pid) - cpu, [(answer.frames, len(answer.text)) for answer in answers]
        assert not any(answer.ended for answer in answers), "an answer was over before the watch was"
        await asyncio.gather(*asking)
        assert all(answer.outcome == "completed" for answer in answers)
        frames = sum(end - begin for (begin, _), (end, _) in zip(before, after, strict=True))
        deltas = sum(
            STREAM_DELTAS * (end - begin) / len(answer.text)
            for (_, begin), (_, end), answer in zip(before, after, answers, strict=True)
        )
        return cpu / deltas * 1e6, deltas / frames


async def flood(program: Program, sessions: list[Session]) -> tuple[float, float]:
    """Return CPU microseconds a delta of answers that come as fast as they can, and deltas a frame."""
    async with stage.pages(sessions) as pages:
        await pages[0].ask(WARM_UP)
        cpu = stage.cpu_s(program.pid)
        answers = await asyncio.gather(*(page.ask(f"{n} {FLOOD}") for n, page in enumerate(pages)))
        cpu = stage.cpu_s(program.pid) - cpu
        assert all(answer.outcome == "completed" for answer in answers)
        frames = sum(answer.frames for answer in answers)
        return cpu / (STREAMS * FLOOD_DELTAS) * 1e6, STREAMS * FLOOD_DELTAS / frames


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    with stage.provider() as provider, relay(provider.base_url) as (relaying, guest):
        for name, measure, wanted in (
            (f"{STREAMS} streams × {RATE} deltas/s", watch_streams, "≤ 0.75"),
            (f"flood, {STREAMS} × {FLOOD_DELTAS} deltas", flood, "≤ 0.33"),
        ):
            ours, bare = [], []
            for _ in range(stage.REPEATS):
                with stage.server(provider.base_url) as site:
                    ours.append(asyncio.run(measure(site, stage.people(site, STREAMS))))
                bare.append(asyncio.run(measure(relaying, [guest] * STREAMS)))
            ratios = [us / them for (us, _), (them, _) in zip(ours, bare, strict=True)]
            for who, runs in (("ours", ours), ("relay", bare)):
                cpu, joined = (stage.median(column) for column in zip(*runs, strict=True))
                rows.append((f"{name}: {who}", f"{cpu:.0f} µs CPU a delta, {joined:.1f} deltas a frame", ""))
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            rows.append((f"{name}: ratio", f"{stage.median(ratios):.2f} ({each})", wanted))
    stage.table("Durability, ours ÷ a relay that stores nothing", rows)


if __name__ == "__main__":
    main()
