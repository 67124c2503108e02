"""Pages of people, without a browser: they ask, lose their sockets, come back, and check what they see.

A page does what docs/socket.md asks of a client, and nothing more clever: questions stay in its outbox
until they are accepted, an event is applied only if its seq is the last one plus one, and after a
reconnect it follows from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.support.serving import SOCKET_PATH, Session

FINAL = {"completed", "stopped", "failed", "interrupted", "snapshot"}
# Instead of a close code, for a try to connect that failed.
NEVER_OPEN = 0
ACK_EVERY_S = 0.25
# Pauses between two tries to connect; a real page waits longer, and the server is what is measured here.
RECONNECT_S = (0.02, 0.1)
DEADLINE_S = 60.0


async def until(check: Callable[[], object], what: str, record: Record) -> None:
    """Wait until `check` holds. Raises AssertionError, with what was wrong before, after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < end, f"waited {DEADLINE_S:g} s for {what}; before: {record.complaints[:5]}"
        await asyncio.sleep(0.02)


@dataclass
class Question:
    """What a person asks. `expected`: the text the provider says it would send; None: it varies."""

    client_id: str
    text: str
    model: int
    expected: str | None = None
    # The code it must be refused with, if it must.
    refusal: str = ""


@dataclass
class Record:
    """What all pages of a storm saw: every event once, and whatever was not as it must be."""

    events: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    last_delta: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def complain(self, what: str) -> None:
        self.complaints.append(what)

    def see(self, frame: dict[str, Any]) -> None:
        """Note an event. A seq is one event for ever, whoever sees it, before a crash or after."""
        known = self.events.setdefault((frame["generation"], frame["seq"]), frame)
        if known != frame and "snapshot" not in (known["type"], frame["type"]):
            self.complain(f"event {frame['seq']} of {frame['generation']} was {known}, and is {frame}")
        if frame["type"] == "delta":
            self.last_delta[frame["generation"]] = max(
                frame["seq"], self.last_delta.get(frame["generation"], 0)
            )
        elif frame["type"] in FINAL:
            self.ended.add(frame["generation"])

    def count(self, kind: str) -> int:
        return sum(frame["type"] == kind for frame in self.events.values())

    def has(self, generation: int, *kinds: str) -> bool:
        return any(
            frame["generation"] == generation and frame["type"] in kinds for frame in self.events.values()
        )


@dataclass
class Screen:
    """What one page shows of one answer."""

    question: Question
    generation: int
    seq: int = 0
    acknowledged: int = 0
    text: str = ""
    end: str = ""

    def draw(self, frame: dict[str, Any]) -> str:
        """Apply the next event; return what is wrong with what is shown then, or nothing."""
        self.seq = frame["seq"]
        match frame["type"]:
            case "delta":
                self.text += frame["text"]
            case "restarted":
                self.text = ""
            case "snapshot":
                self.text = frame["text"]
        if frame["type"] in FINAL:
            self.end = frame.get("status", frame["type"])
        expected = self.question.expected
        if expected is None or expected.startswith(self.text):
            return ""
        at = next(n for n, (a, b) in enumerate(zip(self.text, expected + "\0", strict=False)) if a != b)
        shown, wanted = self.text[at - 20 : at + 20], expected[at - 20 : at + 20]
        return f"{self.generation} shows {shown!r} at {at}, not {wanted!r}, after {frame}"


class Page:
    """One page of a signed-in person, which connects again whenever its socket is lost.

    `ports`: where to connect, one after the other, in place of the server's own port (a proxy, or several
    servers). A page that `hears_silence` leaves a server that does not answer pings.
    """

    def __init__(
        self,
        session: Session,
        record: Record,
        dice: random.Random,
        *,
        ports: list[int] | None = None,
        hears_silence: bool = False,
        reading_s: float = 0.0,
    ) -> None:
        self.session = session
        self.record = record
        self.dice = dice
        self.ports = ports or []
        self.hears_silence = hears_silence
        self.reading_s = reading_s
        self.outbox: dict[str, Question] = {}
        self.screens: dict[int, Screen] = {}
        self.accepted: dict[str, int] = {}
        self.closed: Counter[int] = Counter()
        self.connections = 0
        self.is_acknowledging = True
        self._socket: ClientConnection | None = None
        # Of this socket: how often each answer is followed, and the last seq that came of it.
        self._follows: Counter[int] = Counter()
        self._heard: dict[int, int] = {}
        self._urgent: set[asyncio.Task[None]] = set()

    # -- what a person does -------------------------------------------------------------------------

    def new_question(self, text: str, model: int, expected: str | None) -> Question:
        client_id = UUID(int=self.dice.getrandbits(128)).hex
        return Question(client_id, text, model, expected)

    def ask(self, question: Question) -> None:
        """Put a question into the outbox and send it, now or as soon as there is a socket."""
        self.outbox[question.client_id] = question
        self._say_soon(_ask(question))

    def show(self, screen: Screen) -> None:
        """Show an answer that another page of the person's asked for."""
        if screen.generation not in self.screens:
            self.screens[screen.generation] = Screen(screen.question, screen.generation)
            self._follow_soon(screen.generation, 0)

    async def answer_to(self, question: Question) -> Screen:
        """Wait for the end of an answer."""
        await until(lambda: self.has_ended(question), f"the end of {question}", self.record)
        screen = self.find(question)
        assert screen is not None
        return screen

    def find(self, question: Question) -> Screen | None:
        return self.screens.get(self.accepted.get(question.client_id, -1))

    def has_ended(self, question: Question) -> bool:
        screen = self.find(question)
        return screen is not None and bool(screen.end)

    @property
    def is_settled(self) -> bool:
        return not self.outbox and all(screen.end for screen in self.screens.values())

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    @property
    def lost(self) -> int:
        """How many sockets it had and lost."""
        return self.closed.total() - self.closed[NEVER_OPEN]

    def cut(self) -> None:
        """Reset the connection, as a network does: no close frame, nothing flushed."""
        if self._socket is not None:
            reset(self._socket.transport)

    # -- its life -----------------------------------------------------------------------------------

    async def live(self) -> None:
        while True:
            try:
                async with self._connect() as connection:
                    await self._talk(connection)
                    self.closed[connection.close_code or 1006] += 1
            except ConnectionClosed as exc:
                self.closed[exc.rcvd.code if exc.rcvd else 1006] += 1
            except (OSError, EOFError, WebSocketException):
                self.closed[NEVER_OPEN] += 1
            finally:
                self._socket = None
            await asyncio.sleep(self.dice.uniform(*RECONNECT_S))

    def _connect(self) -> connect:
        url = "ws" + self.session.base_url.removeprefix("http") + SOCKET_PATH
        place: dict[str, Any] = {}
        if self.ports:
            place = {"host": "127.0.0.1", "port": self.ports[self.connections % len(self.ports)]}
        self.connections += 1
        headers = {name: value for name, value in self.session.headers.items() if name != "Origin"}
        pulse_s = 1.0 if self.hears_silence else None
        return connect(
            url,
            origin=self.session.base_url,
            additional_headers=headers,
            proxy=None,
            compression=None,
            max_size=2**23,
            open_timeout=5,
            close_timeout=1,
            ping_interval=pulse_s,
            ping_timeout=pulse_s,
            **place,
        )

    async def _talk(self, connection: ClientConnection) -> None:
        self._socket = connection
        self._follows.clear()
        self._heard.clear()
        for screen in self.screens.values():
            if not screen.end:
                self._follows[screen.generation] += 1
                await connection.send(_follow(screen.generation, screen.seq))
        for question in list(self.outbox.values()):
            await connection.send(_ask(question))
        async with aclosing_task(self._acknowledge(connection)):
            async for data in connection:
                self._hear(json.loads(data))
                if self.reading_s:
                    await asyncio.sleep(self.reading_s)

    async def _acknowledge(self, connection: ClientConnection) -> None:
        while True:
            await asyncio.sleep(ACK_EVERY_S)
            for screen in list(self.screens.values()):
                if self.is_acknowledging and screen.seq > screen.acknowledged:
                    screen.acknowledged = screen.seq
                    frame = {"type": "ack", "generation": screen.generation, "seq": screen.seq}
                    with contextlib.suppress(ConnectionClosed):
                        await connection.send(json.dumps(frame))

    def _hear(self, frame: dict[str, Any]) -> None:
        if "seq" in frame:
            self.record.see(frame)
            self._check_order(frame)
            self._draw(frame)
        elif frame["type"] == "accepted":
            self._note_accepted(frame)
        elif frame["type"] == "refused":
            question = self.outbox.pop(frame.get("client_id", ""), None)
            if question is None or frame["code"] != question.refusal:
                self.record.complain(f"{question} was refused: {frame}")

    def _check_order(self, frame: dict[str, Any]) -> None:
        """Events of one follow come in their order, once; only another follow goes back, once."""
        generation, seq = frame["generation"], frame["seq"]
        if seq <= self._heard.get(generation, 0):
            self._follows[generation] -= 1
            if self._follows[generation] < 1:
                self.record.complain(f"a repeat after {self._heard[generation]}: {frame}")
        self._heard[generation] = seq

    def _note_accepted(self, frame: dict[str, Any]) -> None:
        self._follows[frame["generation"]] += 1  # by the server, for whoever asks
        question = self.outbox.pop(frame["client_id"], None)
        generation = self.accepted.setdefault(frame["client_id"], frame["generation"])
        if generation != frame["generation"]:
            self.record.complain(f"{frame['client_id']} was accepted as {generation}, then {frame}")
        if question is None:
            return  # accepted before, over a socket that was lost
        if question.refusal:
            self.record.complain(f"{question} was accepted: {frame}")
        self.screens.setdefault(generation, Screen(question, generation))

    def _draw(self, frame: dict[str, Any]) -> None:
        screen = self.screens.get(frame["generation"])
        if screen is None or frame["seq"] <= screen.seq:
            return
        if frame["seq"] > screen.seq + 1:
            self.record.complain(f"a gap after {screen.seq} of {screen.generation}: {frame}")
            self._follow_soon(screen.generation, screen.seq)
            return
        if trouble := screen.draw(frame):
            self.record.complain(trouble)

    def _follow_soon(self, generation: int, after: int) -> None:
        self._follows[generation] += 1
        self._say_soon(_follow(generation, after))

    def _say_soon(self, data: str) -> None:
        if self._socket is not None:
            task = asyncio.create_task(self._say(self._socket, data))
            self._urgent.add(task)
            task.add_done_callback(self._urgent.discard)

    async def _say(self, connection: ClientConnection, data: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send(data)


def _ask(question: Question) -> str:
    wanted = {"client_id": question.client_id, "text": question.text, "model": question.model}
    return json.dumps({"type": "ask", **wanted})


def _follow(generation: int, after: int) -> str:
    return json.dumps({"type": "follow", "generation": generation, "after": after})


def reset(transport: asyncio.BaseTransport) -> None:
    """Close a connection with a TCP reset."""
    found = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # closed already
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()


@contextlib.asynccontextmanager
async def aclosing_task(coroutine: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine beside the block, and no longer. What it raised is raised at the end."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
