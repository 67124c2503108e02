"""A chat client without a browser: it asks, loses its socket, reconnects, and checks what it shows.

It does what docs/socket.md requires of a client and no more: questions stay in its outbox
until they are accepted, an event is applied only if its seq is the last one plus one, and after a
reconnect it follows from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.chaos.proxy import reset
from tests.chaos.record import Question, Record, Screen, until
from tests.support.serving import SOCKET_PATH, Session

# Stands for the close code of an attempt that did not connect.
NEVER_OPEN = 0
ACK_EVERY_S = 0.25
# Pauses between two attempts to connect; a real client waits longer, but the server is measured here.
RECONNECT_S = (0.02, 0.1)


class Client:
    """A client of a signed-in user, which reconnects whenever its socket is lost.

    `ports`: the ports to connect to in turn, instead of the server's own (a proxy, or several servers).
    With `detects_silence`, it disconnects from a server that does not answer pings.
    """

    def __init__(
        self,
        session: Session,
        record: Record,
        rng: random.Random,
        *,
        ports: list[int] | None = None,
        detects_silence: bool = False,
        reading_s: float = 0.0,
    ) -> None:
        self.session = session
        self.record = record
        self.rng = rng
        self.ports = ports or []
        self.detects_silence = detects_silence
        self.reading_s = reading_s
        self.outbox: dict[str, Question] = {}
        self.screens: dict[int, Screen] = {}
        self.accepted: dict[str, int] = {}
        self.closed: Counter[int] = Counter()
        self.connections = 0
        self.is_acknowledging = True
        self._socket: ClientConnection | None = None
        # For this socket: how often each answer is followed, and its last received seq.
        self._follows: Counter[int] = Counter()
        self._last_seq: dict[int, int] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def new_question(self, text: str, model: int, expected: str | None) -> Question:
        client_id = UUID(int=self.rng.getrandbits(128)).hex
        return Question(client_id, text, model, expected)

    def ask(self, question: Question) -> None:
        """Put a question into the outbox and send it, now or as soon as a socket is open."""
        self.outbox[question.client_id] = question
        self._send_soon(_ask(question))

    def show(self, screen: Screen) -> None:
        """Show an answer that another client of the same user asked for."""
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
        """How many open sockets were lost."""
        return self.closed.total() - self.closed[NEVER_OPEN]

    def cut(self) -> None:
        """Reset the connection, as a network does: no close frame, nothing flushed."""
        if self._socket is not None:
            reset(self._socket.transport)

    async def run(self) -> None:
        """Connect, talk and reconnect until cancelled."""
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
            await asyncio.sleep(self.rng.uniform(*RECONNECT_S))

    def _connect(self) -> connect:
        url = "ws" + self.session.base_url.removeprefix("http") + SOCKET_PATH
        address: dict[str, Any] = {}
        if self.ports:
            address = {"host": "127.0.0.1", "port": self.ports[self.connections % len(self.ports)]}
        self.connections += 1
        headers = {name: value for name, value in self.session.headers.items() if name != "Origin"}
        ping_s = 1.0 if self.detects_silence else None
        return connect(
            url,
            origin=self.session.base_url,
            additional_headers=headers,
            proxy=None,
            compression=None,
            max_size=2**23,
            open_timeout=5,
            close_timeout=1,
            ping_interval=ping_s,
            ping_timeout=ping_s,
            **address,
        )

    async def _talk(self, connection: ClientConnection) -> None:
        self._socket = connection
        self._follows.clear()
        self._last_seq.clear()
        for screen in self.screens.values():
            if not screen.end:
                self._follows[screen.generation] += 1
                await connection.send(_follow(screen.generation, screen.seq))
        for question in list(self.outbox.values()):
            await connection.send(_ask(question))
        async with aclosing_task(self._acknowledge(connection)):
            async for data in connection:
                self._receive(json.loads(data))
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

    def _receive(self, frame: dict[str, Any]) -> None:
        if "seq" in frame:
            self.record.add(frame)
            self._check_order(frame)
            self._show(frame)
        elif frame["type"] == "accepted":
            self._note_accepted(frame)
        elif frame["type"] == "refused":
            question = self.outbox.pop(frame.get("client_id", ""), None)
            if question is None or frame["code"] != question.refusal:
                self.record.fail(f"{question} was refused: {frame}")

    def _check_order(self, frame: dict[str, Any]) -> None:
        """Check that the events of one follow are in order, once; each further follow may go back once."""
        generation, seq = frame["generation"], frame["seq"]
        if seq <= self._last_seq.get(generation, 0):
            self._follows[generation] -= 1
            if self._follows[generation] < 1:
                self.record.fail(f"a repetition after {self._last_seq[generation]}: {frame}")
        self._last_seq[generation] = seq

    def _note_accepted(self, frame: dict[str, Any]) -> None:
        self._follows[frame["generation"]] += 1  # the server follows for the client that asked
        question = self.outbox.pop(frame["client_id"], None)
        generation = self.accepted.setdefault(frame["client_id"], frame["generation"])
        if generation != frame["generation"]:
            self.record.fail(f"{frame['client_id']} was accepted as {generation}, then {frame}")
        if question is None:
            return  # accepted before, over a socket that was lost
        if question.refusal:
            self.record.fail(f"{question} was accepted: {frame}")
        self.screens.setdefault(generation, Screen(question, generation))

    def _show(self, frame: dict[str, Any]) -> None:
        screen = self.screens.get(frame["generation"])
        if screen is None or frame["seq"] <= screen.seq:
            return
        if frame["seq"] > screen.seq + 1:
            self.record.fail(f"a gap after {screen.seq} of {screen.generation}: {frame}")
            self._follow_soon(screen.generation, screen.seq)
            return
        if failure := screen.apply(frame):
            self.record.fail(failure)

    def _follow_soon(self, generation: int, after: int) -> None:
        self._follows[generation] += 1
        self._send_soon(_follow(generation, after))

    def _send_soon(self, data: str) -> None:
        if self._socket is not None:
            task = asyncio.create_task(self._send(self._socket, data))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, connection: ClientConnection, data: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send(data)


def _ask(question: Question) -> str:
    frame = {"client_id": question.client_id, "text": question.text, "model": question.model}
    if question.attachments:
        frame["attachments"] = question.attachments
    return json.dumps({"type": "ask", **frame})


def _follow(generation: int, after: int) -> str:
    return json.dumps({"type": "follow", "generation": generation, "after": after})


@contextlib.asynccontextmanager
async def aclosing_task(coroutine: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine while the block runs. An exception of the coroutine is raised at the end."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
