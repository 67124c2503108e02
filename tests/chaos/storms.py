"""The storms. Each takes a stage and its own force, and reports; a storm that complains of nothing passed."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable
from statistics import quantiles

from tests.chaos.person import Page, Question, Record, Screen, until
from tests.chaos.proxy import Proxy
from tests.chaos.stage import WINDOW_BYTES, Report, Stage
from tests.support.programs import Program
from tests.system.test_never_lost import control

# An answer may be cut twice and is then interrupted: so many calls it has made at least.
CALLS_BEFORE_GIVING_UP = 3
MID_STREAM = ("cut", "drop", "reset", "stall", "malformed", "error", "event_error")


async def kill(stage: Stage, kills: int, streams: int = 20) -> Report:
    """`kill -9` of the server under load, at any moment, its start included; it is started again."""
    dice, record = stage.dice("kill"), Record()
    pages = stage.pages(record)
    ready_s: list[float] = []
    moving_s: list[float] = []
    async with stage.load(pages, streams, deltas=(40, 120)):
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.2, 4))
            await asyncio.to_thread(stage.server.kill9)
            if dice.random() < 0.1:
                await asyncio.to_thread(Program.start, stage.server)
                await asyncio.sleep(dice.uniform(0, 2))
                await asyncio.to_thread(stage.server.kill9)
            under_way = stage.under_way()
            ready_s.append(await _timed(asyncio.to_thread(stage.server.start)))
            if under_way:
                moving_s.append(await _timed(_moving(record, under_way)))
    await stage.judge_replay(record, pages)
    report = stage.judge("kill", pages, may_end_early=CALLS_BEFORE_GIVING_UP)
    report.figures = {
        "kills": str(kills),
        "streams": str(streams),
        "ready after start": _spread(ready_s),
        "answers move after that": _spread(moving_s),
    }
    return report


async def _timed(work: Awaitable[object]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


async def _moving(record: Record, under_way: dict[int, int]) -> None:
    """Wait for a new delta of an answer that had been under way, or for the end of all of them."""

    def moves() -> bool:
        return any(
            record.last_delta.get(generation, 0) > seq for generation, seq in under_way.items()
        ) or all(generation in record.ended for generation in under_way)

    await until(moves, "answers to move again", record)


def _spread(values_s: list[float]) -> str:
    p95 = quantiles(values_s, n=20, method="inclusive")[-1] if len(values_s) > 1 else values_s[0]
    return f"p95 {p95:.1f} s, at most {max(values_s):.1f} s"


async def cuts(stage: Stage, answers: int, streams: int = 32) -> Report:
    """Streams of the provider that are cut, dropped, reset, stalled or broken in their midst, up to twice."""
    record = Record()
    pages = stage.pages(record)
    varying: list[Screen] = []

    async def ask_each(numbers: range) -> None:
        for number in numbers:
            page = pages[number % len(pages)]
            question = await _faulty_question(stage, page, number)
            page.ask(question)
            screen = await page.answer_to(question)
            if question.expected is None:
                varying.append(screen)

    async with stage.living(pages), asyncio.TaskGroup() as group:
        for first in range(min(streams, answers)):
            group.create_task(ask_each(range(first, answers, streams)))
    sent = {each["question"]: each for each in _requests(stage)}
    for screen in varying:
        _judge_restarted(record, screen, sent[screen.question.text])
    report = stage.judge("cuts", pages)
    report.figures = {"streams": str(streams)}
    return report


async def _faulty_question(stage: Stage, page: Page, number: int) -> Question:
    """Return a question whose answer is cut; of four, one is to a model that never says the same again."""
    dice = stage.dice("cut", number)
    faults = [f"[[{dice.choice(MID_STREAM)} after={dice.randrange(1, 40)} on={on}]]" for on in (1, 2)]
    directives = "".join(faults[: dice.randrange(1, 3)]) + f"[[deltas={dice.randrange(90, 150)} rate=200]]"
    if number % 4 == 3:
        return await stage.question(page, f"{directives}[[vary]]", model="fake:none", varies=True)
    return await stage.question(page, directives, model=dice.choice(list(stage.models)))


def _judge_restarted(record: Record, screen: Screen, sent: dict[str, str]) -> None:
    """What began anew says so, and shows the text of the last call and nothing of the one before."""
    if sent["text"] != screen.text or sent["outcome"] != "complete":
        record.complain(f"{screen.generation} does not show what was sent last")
    if not record.has(screen.generation, "restarted"):
        record.complain(f"{screen.generation} began anew and did not say so")


def _requests(stage: Stage) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(control(stage.provider, "requests"))["requests"]
    return found


async def drops(stage: Stage, cuts: int, streams: int = 16) -> Report:
    """Sockets that are reset at either end or in the midst of a frame, or whose page is gone unnoticed."""
    dice, record = stage.dice("drops"), Record()
    async with Proxy(stage.server.port) as proxy:
        pages = stage.pages(record, ports=[proxy.port])
        async with stage.load(pages, streams, deltas=(40, 120)):
            while sum(page.lost for page in pages) < cuts:
                await asyncio.sleep(dice.uniform(0.005, 0.05))
                match dice.randrange(3):
                    case 0:
                        dice.choice(pages).cut()
                    case 1:
                        proxy.cut(dice)
                    case _:
                        proxy.forsake(dice)
    await stage.judge_replay(record, pages)
    report = stage.judge("drops", pages)
    report.figures = {"cuts": str(cuts), "streams": str(streams)}
    return report


async def term(stage: Stage, terms: int, streams: int = 20) -> Report:
    """SIGTERM under load: sockets are sent away with 1012, long answers handed over to the next start."""
    dice, record = stage.dice("term"), Record()
    pages = stage.pages(record)
    async with stage.load(pages, streams, deltas=(40, 200)):
        for _ in range(terms):
            await asyncio.sleep(dice.uniform(0.5, 3))
            await until(lambda: all(page.is_connected for page in pages), "everybody to be back", record)
            before = [page.closed[1012] for page in pages]
            if code := await asyncio.to_thread(stage.server.terminate):
                record.complain(f"the server ended with {code}")
            if [page.closed[1012] for page in pages] != [count + 1 for count in before]:
                record.complain(f"not everybody was sent away: {[page.closed for page in pages]}")
            await asyncio.to_thread(stage.server.start)
    await stage.judge_replay(record, pages)
    report = stage.judge("term", pages, may_end_early=CALLS_BEFORE_GIVING_UP)
    report.figures = {"restarts": str(terms), "streams": str(streams)}
    return report


async def doubles(stage: Stage, asks: int, sockets: int = 5) -> Report:
    """Every question sent over several sockets at once under one id, some of them reset right after."""
    dice, record = stage.dice("doubles"), Record()
    session = stage.sessions[0]
    pages = [Page(session, record, stage.dice("double", number)) for number in range(sockets)]
    async with stage.living(pages):
        await until(lambda: all(page.is_connected for page in pages), "all sockets", record)
        for _ in range(asks):
            question = await stage.question(pages[0], "[[deltas=30 rate=0]]")
            for page in pages:
                page.ask(question)
            if dice.random() < 0.3:
                dice.choice(pages).cut()
            await asyncio.gather(*(page.answer_to(question) for page in pages))
            other = Question(question.client_id, "another question", question.model, refusal="conflict")
            dice.choice(pages).ask(other)
        await stage.settled(pages)
    report = stage.judge("doubles", pages)
    report.figures = {"questions": str(asks), "sockets": str(sockets)}
    return report


async def tabs(stage: Stage, people: int) -> Report:
    """Three tabs of each person: one quick, one that reads slowly, one that says nothing of what it drew."""
    record = Record()
    quick, slow, silent = (stage.pages(record, people) for _ in range(3))
    for page in slow:
        page.reading_s = 0.003
    for page in silent:
        page.is_acknowledging = False
    pages = [*quick, *slow, *silent]
    async with stage.living(pages):
        for page, *others in zip(quick, slow, silent, strict=True):
            question = await stage.question(page, "[[deltas=600 chars=400 rate=400]]")
            page.ask(question)
            await until(lambda page=page, question=question: page.find(question), "it to be accepted", record)
            for other in others:
                other.show(page.find(question))
        await stage.settled(quick)
        for page in silent:
            for screen in page.screens.values():
                if len(screen.text) > 2 * WINDOW_BYTES:
                    record.complain(f"{len(screen.text)} characters were sent to who acknowledged none")
            page.is_acknowledging = True
        await stage.settled(pages)
    report = stage.judge("tabs", pages)
    report.figures = {"people": str(people), "tabs each": "3"}
    return report


async def freeze(stage: Stage, frozen_s: float, streams: int = 6) -> Report:
    """SIGSTOP of one of two servers on PostgreSQL, for `frozen_s` and until it was taken for dead."""
    record, first = Record(), stage.server
    second = await asyncio.to_thread(stage.serve, stage.env | {"CHATSITE_SECRET_KEY": _secret_key(stage)})
    stage.servers.append(second)
    leaving = stage.pages(record, 2, ports=[first.port, second.port], hears_silence=True)
    staying = stage.pages(record, 2, ports=[first.port])
    elsewhere = stage.pages(record, 4, ports=[second.port])[2:]
    async with stage.living([*leaving, *staying, *elsewhere]):
        for number in range(streams):
            for page in (leaving[number % 2], elsewhere[number % 2]):
                model = ("fake:plain", "fake:none")[number // 2 % 2]
                page.ask(await stage.question(page, "[[deltas=300]]", model=model))
        await until(
            lambda: all(_is_writing(page) for page in [*leaving, *elsewhere]), "all to be written", record
        )
        for page, other in zip(leaving, staying, strict=True):
            for screen in list(page.screens.values()):
                other.show(screen)
        await until(lambda: all(map(_is_writing, staying)), "those who stay to see it", record)
        # Whoever finds a question unclaimed answers it, so not each runs where it was asked.
        epochs = stage.epochs_at(first)
        assert epochs, "nothing runs on the server that is to be frozen"
        first.send(signal.SIGSTOP)
        try:
            taken_over_s = await _timed(_taken_over(stage, record, epochs))
            await asyncio.sleep(max(0.0, frozen_s - taken_over_s))
        finally:
            first.send(signal.SIGCONT)
        await stage.settled([*leaving, *staying, *elsewhere])
    lost = "runs elsewhere now"
    await until(lambda: first.log.count(lost) == len(epochs), "the frozen server to see its loss", record)
    for page in elsewhere:
        for generation in set(page.accepted.values()) - epochs.keys():
            if record.has(generation, "restarted", "continued", "retrying") or page.closed:
                record.complain(f"somebody else felt it: {generation}, {page.closed}")
    report = stage.judge("freeze", [*leaving, *staying, *elsewhere])
    report.figures = {
        "frozen for": f"{max(frozen_s, taken_over_s):.0f} s",
        "taken over after": f"{taken_over_s:.1f} s",
        "streams": str(2 * streams),
    }
    return report


async def _taken_over(stage: Stage, record: Record, epochs: dict[int, int]) -> None:
    def is_elsewhere() -> bool:
        stored = stage.stored()
        return all(stored[generation].epoch > epoch for generation, epoch in epochs.items())

    await until(is_elsewhere, "the takeover", record)


def _secret_key(stage: Stage) -> str:
    return (stage.server.data_dir / "secret_key").read_text().strip()


def _is_writing(page: Page) -> bool:
    return not page.outbox and bool(page.screens) and all(screen.text for screen in page.screens.values())
