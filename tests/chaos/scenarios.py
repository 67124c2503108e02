"""The scenarios. Each takes an environment and a size, and returns a report; without failures it passed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable
from statistics import quantiles

from tests.chaos.client import Client
from tests.chaos.environment import WINDOW_BYTES, Environment, Report
from tests.chaos.proxy import Proxy
from tests.chaos.record import Question, Record, Screen, until
from tests.support.programs import Program
from tests.support.provider_control import requests_of
from tests.support.serving import secret_key_of

# An answer may be recovered twice and is then interrupted: after at least this many calls.
CALLS_BEFORE_GIVING_UP = 3
MID_STREAM = ("cut", "drop", "reset", "stall", "malformed", "error", "event_error")


async def kill(environment: Environment, kills: int, streams: int = 20) -> Report:
    """Kill the server with SIGKILL under load, sometimes while it starts, and restart it."""
    rng, record = environment.rng("kill"), Record()
    clients = environment.clients(record)
    ready_s: list[float] = []
    moving_s: list[float] = []
    async with environment.load(clients, streams, deltas=(40, 120)):
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(0.2, 4))
            await asyncio.to_thread(environment.server.kill9)
            if rng.random() < 0.1:
                await asyncio.to_thread(Program.start, environment.server)
                await asyncio.sleep(rng.uniform(0, 2))
                await asyncio.to_thread(environment.server.kill9)
            active = environment.active()
            ready_s.append(await _timed(asyncio.to_thread(environment.server.start)))
            if active:
                moving_s.append(await _timed(_moving(record, active)))
    await environment.check_replay(record, clients)
    report = environment.check("kill", clients, may_end_early=CALLS_BEFORE_GIVING_UP)
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


async def _moving(record: Record, active: dict[int, int]) -> None:
    """Wait for a new delta of one of the active answers, or for the end of all of them."""

    def moves() -> bool:
        return any(record.last_delta.get(generation, 0) > seq for generation, seq in active.items()) or all(
            generation in record.ended for generation in active
        )

    await until(moves, "answers to move again", record)


def _spread(values_s: list[float]) -> str:
    p95 = quantiles(values_s, n=20, method="inclusive")[-1] if len(values_s) > 1 else values_s[0]
    return f"p95 {p95:.1f} s, at most {max(values_s):.1f} s"


async def cuts(environment: Environment, answers: int, streams: int = 32) -> Report:
    """Cut, drop, reset, stall or corrupt the provider's streams, up to twice per answer."""
    record = Record()
    clients = environment.clients(record)
    varying: list[Screen] = []

    async def ask_each(numbers: range) -> None:
        for number in numbers:
            client = clients[number % len(clients)]
            question = await _faulty_question(environment, client, number)
            client.ask(question)
            screen = await client.answer_to(question)
            if question.expected is None:
                varying.append(screen)

    async with environment.running(clients), asyncio.TaskGroup() as group:
        for first in range(min(streams, answers)):
            group.create_task(ask_each(range(first, answers, streams)))
    sent = {request["question"]: request for request in requests_of(environment.provider)}
    for screen in varying:
        _check_restarted(record, screen, sent[screen.question.text])
    report = environment.check("cuts", clients)
    report.figures = {"streams": str(streams)}
    return report


async def _faulty_question(environment: Environment, client: Client, number: int) -> Question:
    """Return a question whose answer is cut; every fourth is for a model that never repeats itself."""
    rng = environment.rng("cut", number)
    faults = [f"[[{rng.choice(MID_STREAM)} after={rng.randrange(1, 40)} on={on}]]" for on in (1, 2)]
    directives = "".join(faults[: rng.randrange(1, 3)]) + f"[[deltas={rng.randrange(90, 150)} rate=200]]"
    if number % 4 == 3:
        return await environment.question(client, f"{directives}[[vary]]", model="fake:none", varies=True)
    return await environment.question(client, directives, model=rng.choice(list(environment.models)))


def _check_restarted(record: Record, screen: Screen, sent: dict[str, str]) -> None:
    """Check that a restarted answer has a `restarted` event and shows only the text of the last call."""
    if sent["text"] != screen.text or sent["outcome"] != "complete":
        record.fail(f"{screen.generation} does not show the text of the last call")
    # A reset can destroy what was on its way: if nothing had been shown, there was nothing to restart.
    if not record.has(screen.generation, "restarted") and record.text_of(screen.generation) != screen.text:
        record.fail(f"{screen.generation} was restarted without an event")


async def drops(environment: Environment, cuts: int, streams: int = 16) -> Report:
    """Reset sockets at either end or in the middle of a frame, or leave them half-open."""
    rng, record = environment.rng("drops"), Record()
    async with Proxy(environment.server.port) as proxy:
        clients = environment.clients(record, ports=[proxy.port])
        async with environment.load(clients, streams, deltas=(40, 120)):
            while sum(client.lost for client in clients) < cuts:
                await asyncio.sleep(rng.uniform(0.005, 0.05))
                match rng.randrange(3):
                    case 0:
                        rng.choice(clients).cut()
                    case 1:
                        proxy.cut(rng)
                    case _:
                        proxy.make_half_open(rng)
    await environment.check_replay(record, clients)
    report = environment.check("drops", clients)
    report.figures = {"cuts": str(cuts), "streams": str(streams)}
    return report


async def term(environment: Environment, terms: int, streams: int = 20) -> Report:
    """Terminate the server under load: sockets close with 1012, the next start takes long answers over."""
    rng, record = environment.rng("term"), Record()
    clients = environment.clients(record)
    async with environment.load(clients, streams, deltas=(40, 200)):
        for _ in range(terms):
            await asyncio.sleep(rng.uniform(0.5, 3))
            await until(
                lambda: all(client.is_connected for client in clients), "all clients to reconnect", record
            )
            before = [client.closed[1012] for client in clients]
            if code := await asyncio.to_thread(environment.server.terminate):
                record.fail(f"the server exited with {code}")
            if [client.closed[1012] for client in clients] != [count + 1 for count in before]:
                record.fail(f"not every socket was closed with 1012: {[client.closed for client in clients]}")
            await asyncio.to_thread(environment.server.start)
    await environment.check_replay(record, clients)
    report = environment.check("term", clients, may_end_early=CALLS_BEFORE_GIVING_UP)
    report.figures = {"restarts": str(terms), "streams": str(streams)}
    return report


async def doubles(environment: Environment, asks: int, sockets: int = 5) -> Report:
    """Send every question over several sockets at once with one id; reset some of the sockets."""
    rng, record = environment.rng("doubles"), Record()
    session = environment.sessions[0]
    clients = [Client(session, record, environment.rng("double", number)) for number in range(sockets)]
    async with environment.running(clients):
        await until(lambda: all(client.is_connected for client in clients), "all sockets", record)
        for _ in range(asks):
            question = await environment.question(clients[0], "[[deltas=30 rate=0]]")
            for client in clients:
                client.ask(question)
            if rng.random() < 0.3:
                rng.choice(clients).cut()
            await asyncio.gather(*(client.answer_to(question) for client in clients))
            other = Question(question.client_id, "another question", question.model, refusal="conflict")
            rng.choice(clients).ask(other)
        await environment.settled(clients)
    report = environment.check("doubles", clients)
    report.figures = {"questions": str(asks), "sockets": str(sockets)}
    return report


async def tabs(environment: Environment, users: int) -> Report:
    """Open three tabs per user: one fast, one that reads slowly, one that acknowledges nothing."""
    record = Record()
    fast, slow, silent = (environment.clients(record, users) for _ in range(3))
    for client in slow:
        client.reading_s = 0.003
    for client in silent:
        client.is_acknowledging = False
    clients = [*fast, *slow, *silent]
    async with environment.running(clients):
        for client, *others in zip(fast, slow, silent, strict=True):
            question = await environment.question(client, "[[deltas=600 chars=400 rate=400]]")
            client.ask(question)
            await until(
                lambda client=client, question=question: client.find(question), "it to be accepted", record
            )
            for other in others:
                other.show(client.find(question))
        await environment.settled(fast)
        for client in silent:
            for screen in client.screens.values():
                if len(screen.text) > 2 * WINDOW_BYTES:
                    record.fail(f"{len(screen.text)} characters were sent without an acknowledgement")
            client.is_acknowledging = True
        await environment.settled(clients)
    report = environment.check("tabs", clients)
    report.figures = {"users": str(users), "tabs each": "3"}
    return report


async def freeze(environment: Environment, frozen_s: float, streams: int = 6) -> Report:
    """Freeze one of two servers on PostgreSQL with SIGSTOP until the other takes its answers over."""
    record, first = Record(), environment.server
    second = await asyncio.to_thread(
        environment.serve, environment.env | {"CHATSITE_SECRET_KEY": secret_key_of(environment.server)}
    )
    environment.servers.append(second)
    leaving = environment.clients(record, 2, ports=[first.port, second.port], detects_silence=True)
    staying = environment.clients(record, 2, ports=[first.port])
    elsewhere = environment.clients(record, 4, ports=[second.port])[2:]
    async with environment.running([*leaving, *staying, *elsewhere]):
        await _start_answers(environment, leaving, elsewhere, streams)
        await _show_answers(leaving, staying)
        # Any server may claim a question, so not every answer runs on the server that received it.
        epochs = environment.epochs_at(first)
        assert epochs, "no answer runs on the server that will be frozen"
        first.send(signal.SIGSTOP)
        try:
            taken_over_s = await _timed(_taken_over(environment, record, epochs))
            await asyncio.sleep(max(0.0, frozen_s - taken_over_s))
        finally:
            first.send(signal.SIGCONT)
        await environment.settled([*leaving, *staying, *elsewhere])
    lost = "runs in another process now"
    await until(lambda: first.log.count(lost) == len(epochs), "the frozen server to notice its loss", record)
    for client in elsewhere:
        for generation in set(client.accepted.values()) - epochs.keys():
            if record.has(generation, "restarted", "continued", "retrying") or client.closed:
                record.fail(f"another client was affected: {generation}, {client.closed}")
    report = environment.check("freeze", [*leaving, *staying, *elsewhere])
    report.figures = {
        "frozen for": f"{max(frozen_s, taken_over_s):.0f} s",
        "taken over after": f"{taken_over_s:.1f} s",
        "streams": str(2 * streams),
    }
    return report


async def _start_answers(
    environment: Environment, leaving: list[Client], elsewhere: list[Client], streams: int
) -> None:
    for number in range(streams):
        for client in (leaving[number % 2], elsewhere[number % 2]):
            model = ("fake:plain", "fake:none")[number // 2 % 2]
            client.ask(await environment.question(client, "[[deltas=300]]", model=model))
    clients = [*leaving, *elsewhere]
    await until(lambda: all(map(_is_writing, clients)), "all answers to start", clients[0].record)


async def _show_answers(clients: list[Client], others: list[Client]) -> None:
    """Show the answers of each client in another client of the same user."""
    for client, other in zip(clients, others, strict=True):
        for screen in list(client.screens.values()):
            other.show(screen)
    await until(lambda: all(map(_is_writing, others)), "the staying clients to show them", others[0].record)


async def _taken_over(environment: Environment, record: Record, epochs: dict[int, int]) -> None:
    def is_elsewhere() -> bool:
        stored = environment.stored()
        return all(stored[generation].epoch > epoch for generation, epoch in epochs.items())

    await until(is_elsewhere, "the takeover", record)


def _is_writing(client: Client) -> bool:
    return (
        not client.outbox and bool(client.screens) and all(screen.text for screen in client.screens.values())
    )
