"""Plays one behaviour on one connection: the answer, and what goes wrong with it."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from chat.fakeprovider import refusals
from chat.fakeprovider.answer import Answer, Frames, document
from chat.fakeprovider.behaviours import AT_END, BEFORE, Behaviour, Fault
from chat.fakeprovider.journal import Journal, Record
from chat.fakeprovider.schedule import Gates
from chat.fakeprovider.timer import Metronome
from chat.fakeprovider.wire import Wire

# As fast as possible still lets the other streams have their turn after this many deltas.
_BURST = 256
_LONG_WAIT_S = 0.1
_INSIDE = re.compile(rb"\\u[0-9a-f]{4}|[\xc0-\xff][\x80-\xbf]+")


@dataclass(frozen=True)
class Stage:
    """What all players share."""

    journal: Journal
    gates: Gates
    metronome: Metronome


class Player:
    """One request's way over the wire."""

    def __init__(self, wire: Wire, record: Record, behaviour: Behaviour, stage: Stage) -> None:
        self._wire = wire
        self._record = record
        self._behaviour = behaviour
        self._journal = stage.journal
        self._gates = stage.gates
        self._metronome = stage.metronome

    async def refuse(self, status: int, body: object, outcome: str) -> str:
        """Answer a JSON document. Return the outcome."""
        self._respond(status, {"content-type": "application/json"}, json.dumps(body).encode())
        return outcome

    async def strike_before(self) -> str:
        """Do the fault that comes before any answer. Return its name; empty: there is none."""
        if self._behaviour.headers_s:
            await self._wire.pause(self._behaviour.headers_s)
        faults = [fault for fault in self._behaviour.faults if fault.kind in BEFORE]
        if not faults:
            return ""
        await self._refuse_with(faults[-1])
        return faults[-1].kind

    async def _refuse_with(self, fault: Fault) -> None:
        match fault.kind:
            case "status":
                kind, body = refusals.body_of(fault)
                self._respond(fault.status, {"content-type": kind} | refusals.headers_of(fault), body)
            case "empty":
                self._respond(200, {"content-type": "text/event-stream"}, b"")
            case "html":
                self._respond(
                    200, {"content-type": "text/html"}, refusals.HTML.format(title="Sign in").encode()
                )
            case "silent":
                await self._linger(fault.for_s, "stalled")
                self._wire.close()
            case "reset_early":
                self._wire.reset()
            case "close_early":
                self._wire.close()
            case _:
                self._wire.write(b"\x15\x03\x01 this is not HTTP\r\n\r\n")
                self._wire.close()

    def _respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._record.status = status
        self._wire.head(status, headers | {"x-request-id": self._record.id}, size=len(body))
        self._wire.body(body)

    async def stream(self, answer: Answer) -> str:
        """Send the answer as events. Return the outcome."""
        self._record.status = 200
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        self._wire.head(
            200, headers | {"x-request-id": self._record.id}, close=self._behaviour.close_delimited
        )
        await self._linger(self._behaviour.first_s or 0)
        frames = Frames(answer)
        queue = iter(frames)
        for fault in self._striking(len(answer.parts)):
            await self._pour(queue, min(fault.after, len(answer.parts)))
            if await self._strike(fault, frames):
                return fault.kind
        await self._pour(queue, AT_END)
        self._wire.end()
        if self._behaviour.close_delimited:
            self._wire.close()
        return "complete"

    def _striking(self, deltas: int) -> list[Fault]:
        """Faults beyond the end of the answer do not strike."""
        return [
            fault
            for fault in self._behaviour.faults
            if fault.kind not in BEFORE and (fault.after <= deltas or fault.after == AT_END)
        ]

    async def _strike(self, fault: Fault, frames: Frames) -> bool:
        """Do a fault in mid-stream. Return whether that was the end."""
        match fault.kind:
            case "stall":
                await self._linger(fault.for_s, "stalled")
                return False
            case "hold":
                await self._linger(None, "held", fault.gate)
                return False
            case "malformed":
                self._wire.body(
                    frames.data('{"id": "chatcmpl-broken", "choices": [{"delta": {"content": "hal')
                )
                return False
            case "error" | "event_error":
                named = b"event: error\n" if fault.kind == "event_error" else b""
                self._wire.body(named + frames.data(json.dumps(refusals.error_of(fault))))
                self._wire.end()
            case _:
                await self._break(fault.kind)
        return True

    async def _break(self, kind: str) -> None:
        if kind == "cut":
            self._wire.end()
        elif kind == "drop":
            self._wire.close()
        else:
            await self._wire.drain()
            self._wire.reset()

    async def _linger(self, for_s: float | None, state: str = "running", gate: str = "") -> None:
        """Wait, with keep-alive comments if wanted; `for_s` None: for ever, or until the gate opens."""
        if for_s == 0:
            return
        self._record.state, self._record.gate = state, gate
        self._journal.ring()
        try:
            async with asyncio.timeout(for_s):
                while not await self._wire.pause(
                    self._behaviour.keepalive_s or None, self._gates.gate(gate) if gate else None
                ):
                    self._wire.body(b": keep-alive\n\n")
        except TimeoutError:
            pass
        self._record.state, self._record.gate = "running", ""

    async def _pour(self, queue: Iterator[tuple[bytes, int]], until: int) -> None:
        """Send frames up to `until` deltas at the wanted rate; what is late goes in one write."""
        behaviour, loop = self._behaviour, asyncio.get_running_loop()
        rate, join = behaviour.rate or 0, max(behaviour.join, 1)
        is_dissected = bool(behaviour.segment or behaviour.split)
        started, sent, is_over = loop.time(), 0, self._record.deltas >= until
        while not is_over:
            allowed = _BURST
            if rate:
                allowed = min(_BURST, join * (int((loop.time() - started) * rate / join) + 1) - sent)
            elif behaviour.join > 1:
                allowed = join
            batch, count, is_over = self._take(queue, allowed, until)
            if batch and is_dissected:
                await self._dissect(batch)
            elif batch:
                self._wire.body(batch)
            sent += count
            self._count(count)
            if self._wire.is_full:
                await self._wire.drain()
            if not is_over:
                await self._rest(started + sent / rate if rate else 0)

    async def _rest(self, until: float) -> None:
        """Wait for the next delta's moment; in a long wait a client that leaves is noticed at once."""
        delay_s = until - asyncio.get_running_loop().time()
        if delay_s > _LONG_WAIT_S:
            await self._wire.pause(delay_s)
        elif delay_s > 0:
            await self._metronome.moment(until)
        else:
            await asyncio.sleep(0)

    def _take(self, queue: Iterator[tuple[bytes, int]], allowed: int, until: int) -> tuple[bytes, int, bool]:
        """Return the next frames, how many deltas they hold, and whether nothing more is to be sent."""
        batch: list[bytes] = []
        count, room = 0, min(allowed, until - self._record.deltas)
        while count < room:
            frame = next(queue, None)
            if frame is None:
                return b"".join(batch), count, True
            batch.append(frame[0])
            count += frame[1]
        return b"".join(batch), count, self._record.deltas + count >= until

    def _count(self, deltas: int) -> None:
        record = self._record
        record.deltas += deltas
        record.sent_bytes = self._wire.sent_bytes
        if deltas and record.first_delta_s is None:
            record.first_delta_s = self._journal.now_s()
            self._journal.ring()

    async def _dissect(self, data: bytes) -> None:
        """Send each piece of `data` in a TCP segment of its own."""
        for segment in self._segments(data):
            self._wire.body(segment)
            await self._wire.drain()
            await asyncio.sleep(self._behaviour.segment_s)

    def _segments(self, data: bytes) -> list[bytes]:
        if size := self._behaviour.segment:
            return [data[at : at + size] for at in range(0, len(data), size)]
        inside = [at for found in _INSIDE.finditer(data) for at in range(found.start() + 1, found.end())]
        return [data[start:end] for start, end in zip([0, *inside], [*inside, len(data)], strict=True)]

    async def deliver(self, answer: Answer) -> str:
        """Send the answer as one JSON document. Return the outcome."""
        behaviour, record = self._behaviour, self._record
        pace_s = len(answer.parts) / behaviour.rate if behaviour.rate else 0
        await self._linger(behaviour.first_s + pace_s)
        faults = self._striking(len(answer.parts))
        body = document(answer)
        for fault in faults:
            if fault.kind in ("error", "event_error"):
                return await self.refuse(200, refusals.error_of(fault), fault.kind)
            if fault.kind in ("cut", "malformed"):
                self._respond(200, {"content-type": "application/json"}, body[: len(body) // 2])
                return fault.kind
        record.status = 200
        headers = {"content-type": "application/json", "x-request-id": record.id}
        self._wire.head(200, headers, size=len(body))
        half = len(body) // 2 if faults else 0
        self._wire.body(body[:half])
        for fault in faults:
            if await self._strike(fault, Frames(answer)):
                return fault.kind
        self._wire.body(body[half:])
        self._count(len(answer.parts))
        return "complete"
