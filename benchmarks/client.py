"""A chat client without a browser, which measures when the events of an answer arrive."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from tests.support.serving import SOCKET_PATH, Session

TERMINAL = {"completed", "stopped", "failed", "interrupted"}
# The same values as in the page's own code.
ACK_EVERY_S, ACK_SOON_S, ACK_SOON_CHARS = 1.0, 0.25, 32 * 1024


@dataclass
class Answer:
    """The answer to one question. Times are readings of time.monotonic."""

    sent: float = 0.0
    accepted: float | None = None
    first_text: float | None = None
    ended: float | None = None
    outcome: str = ""
    frames: int = 0
    texts: list[str] = field(default_factory=list)
    # When each of them arrived.
    arrived: list[float] = field(default_factory=list)
    ids: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Acks:
    """Decide when to acknowledge: once a second, sooner after much text (as static/chat/answer.js does)."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()
        self._chars = 0

    def are_due(self, chars: int) -> bool:
        """Return whether to acknowledge now, after `chars` more characters."""
        self._chars += chars
        passed_s = time.monotonic() - self._last_s
        is_due = passed_s > (ACK_SOON_S if self._chars > ACK_SOON_CHARS else ACK_EVERY_S)
        if is_due:
            self._last_s, self._chars = time.monotonic(), 0
        return is_due


class Client:
    """An open socket of one user."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def ask(self, text: str, answer: Answer | None = None, **fields: Any) -> Answer:
        """Ask, acknowledge as a page does, and return the answer at its end. `fields`: more of the frame."""
        answer = answer or Answer()
        answer.sent = time.monotonic()
        ask = {"type": "ask", "client_id": uuid4().hex, "text": text}
        await self._socket.send(json.dumps(ask | fields))
        acks = Acks()
        async for message in self._socket:
            now = time.monotonic()
            frame = json.loads(message)
            kind = frame["type"]
            if kind == "delta":
                answer.frames += 1
                answer.first_text = answer.first_text or now
                answer.texts.append(frame["text"])
                answer.arrived.append(now)
                if "seq" in frame and acks.are_due(len(frame["text"])):
                    await self._socket.send(
                        json.dumps({"type": "ack", "generation": frame["generation"], "seq": frame["seq"]})
                    )
            elif kind == "accepted":
                answer.accepted = now
                answer.ids = frame
            elif kind in TERMINAL or kind == "refused":
                answer.ended, answer.outcome = now, frame.get("code") or kind
                break
        return answer

    async def read(self, message: int) -> str:
        """Read a message as a page does when its answer has ended; return its HTML."""
        await self.send(type="read", message=message)
        async for reply in self._socket:
            frame = json.loads(reply)
            if frame["type"] == "article" and frame["message"] == message:
                return str(frame["html"])
            assert frame["type"] != "refused", frame
        raise ConnectionError("the socket was closed")

    async def send(self, **frame: Any) -> None:
        await self._socket.send(json.dumps(frame))

    async def frames(self, *, until_seq: int) -> AsyncIterator[dict[str, Any]]:
        """Yield events up to `until_seq`, and acknowledge them as a page does."""
        acks = Acks()
        async for message in self._socket:
            frame = json.loads(message)
            yield frame
            if frame["seq"] == until_seq:
                return
            if acks.are_due(len(message)):
                await self.send(type="ack", generation=frame["generation"], seq=frame["seq"])


@contextlib.asynccontextmanager
async def open_client(
    session: Session, *, open_timeout_s: float = 60, path: str = SOCKET_PATH
) -> AsyncIterator[Client]:
    """Open a socket of the session's user."""
    url = "ws" + session.base_url.removeprefix("http") + path
    headers = {name: value for name, value in session.headers.items() if name != "Origin"}
    async with connect(
        url,
        origin=session.base_url,
        additional_headers=headers,
        proxy=None,
        max_size=2**23,
        compression=None,
        open_timeout=open_timeout_s,
        ping_interval=None,
    ) as socket:
        yield Client(socket)


@contextlib.asynccontextmanager
async def open_clients(sessions: Sequence[Session]) -> AsyncIterator[list[Client]]:
    """Open a socket for each session, all at once."""
    async with contextlib.AsyncExitStack() as stack:
        opening = [
            asyncio.ensure_future(stack.enter_async_context(open_client(session))) for session in sessions
        ]
        yield list(await asyncio.gather(*opening))
