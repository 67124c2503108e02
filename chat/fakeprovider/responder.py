"""Respond to one request: send the answer, and cause the faults of its behaviour."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from chat.fakeprovider import error_bodies
from chat.fakeprovider.answer import EventEncoder, ScriptedAnswer, document
from chat.fakeprovider.behaviours import AT_END, BEFORE, Behaviour, Fault
from chat.fakeprovider.connection import HttpConnection
from chat.fakeprovider.journal import Journal, RequestRecord
from chat.fakeprovider.provider_errors import PROVIDER_ERRORS
from chat.fakeprovider.schedule import Gates
from chat.fakeprovider.timer import SharedTimer

# A stream without a rate yields to the other streams after this many deltas.
_BURST = 256
_LONG_WAIT_S = 0.1
_MULTIBYTE = re.compile(rb"\\u[0-9a-f]{4}|[\xc0-\xff][\x80-\xbf]+")


@dataclass(frozen=True)
class ResponderContext:
    """Objects that all responders share."""

    journal: Journal
    gates: Gates
    timer: SharedTimer


class Responder:
    """The response to one request."""

    def __init__(
        self,
        connection: HttpConnection,
        record: RequestRecord,
        behaviour: Behaviour,
        context: ResponderContext,
    ) -> None:
        self._connection = connection
        self._record = record
        self._behaviour = behaviour
        self._journal = context.journal
        self._gates = context.gates
        self._timer = context.timer

    async def fail_before_answer(self) -> str:
        """Cause the fault that precedes any answer. Return its name, or an empty string without one."""
        if self._behaviour.headers_s:
            await self._connection.pause(self._behaviour.headers_s)
        faults = [fault for fault in self._behaviour.faults if fault.kind in BEFORE]
        if not faults:
            return ""
        await self._respond_with(faults[-1])
        return faults[-1].kind

    async def _respond_with(self, fault: Fault) -> None:
        match fault.kind:
            case "status":
                kind, body = error_bodies.body_of(fault)
                self._respond(fault.status, {"content-type": kind} | error_bodies.headers_of(fault), body)
            case "provider_error":
                error = PROVIDER_ERRORS[fault.provider_error]
                kind, body = error_bodies.encoded(error.body)
                self._respond(error.status, {"content-type": kind}, body)
            case "empty":
                self._respond(200, {"content-type": "text/event-stream"}, b"")
            case "html":
                self._respond(
                    200, {"content-type": "text/html"}, error_bodies.HTML.format(title="Sign in").encode()
                )
            case "silent":
                await self._linger(fault.for_s, "stalled")
                self._connection.close()
            case "reset_early":
                self._connection.reset()
            case "close_early":
                self._connection.close()
            case _:
                self._connection.write(b"\x15\x03\x01 this is not HTTP\r\n\r\n")
                self._connection.close()

    def _respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._record.status = status
        self._connection.head(status, headers | {"x-request-id": self._record.id}, size=len(body))
        self._connection.body(body)

    async def stream(self, answer: ScriptedAnswer) -> str:
        """Send the answer as events. Return the outcome."""
        self._record.status = 200
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        self._connection.head(
            200, headers | {"x-request-id": self._record.id}, close=self._behaviour.close_delimited
        )
        await self._linger(self._behaviour.first_s or 0)
        encoder = EventEncoder(answer)
        events = iter(encoder)
        for fault in self._faults_during(len(answer.parts)):
            await self._send_until(events, min(fault.after, len(answer.parts)))
            if await self._cause(fault, encoder):
                return fault.kind
        await self._send_until(events, AT_END)
        self._record.usage = encoder.usage
        self._connection.end()
        if self._behaviour.close_delimited:
            self._connection.close()
        return "complete"

    def _faults_during(self, deltas: int) -> list[Fault]:
        """Return the faults during an answer of `deltas` deltas; later ones do not happen."""
        return [
            fault
            for fault in self._behaviour.faults
            if fault.kind not in BEFORE and (fault.after <= deltas or fault.after == AT_END)
        ]

    async def _cause(self, fault: Fault, encoder: EventEncoder) -> bool:
        """Cause a fault during the answer. Return whether it ended the answer."""
        match fault.kind:
            case "stall":
                await self._linger(fault.for_s, "stalled")
                return False
            case "hold":
                await self._linger(None, "held", fault.gate)
                return False
            case "malformed":
                self._connection.body(
                    encoder.data('{"id": "chatcmpl-broken", "choices": [{"delta": {"content": "hal')
                )
                return False
            case "error" | "event_error":
                name = b"event: error\n" if fault.kind == "event_error" else b""
                self._connection.body(name + encoder.data(json.dumps(error_bodies.error_of(fault))))
                self._connection.end()
            case _:
                await self._break(fault.kind)
        return True

    async def _break(self, kind: str) -> None:
        if kind == "cut":
            self._connection.end()
        elif kind == "drop":
            self._connection.close()
        else:
            await self._connection.drain()
            self._connection.reset()

    async def _linger(self, for_s: float | None, state: str = "running", gate: str = "") -> None:
        """Wait, with keep-alive comments if configured. `for_s` None: until the gate opens, if any."""
        if for_s == 0:
            return
        self._record.state, self._record.gate = state, gate
        self._journal.notify()
        try:
            async with asyncio.timeout(for_s):
                while not await self._connection.pause(
                    self._behaviour.keepalive_s or None, self._gates.gate(gate) if gate else None
                ):
                    self._connection.body(b": keep-alive\n\n")
        except TimeoutError:
            pass
        self._record.state, self._record.gate = "running", ""

    async def _send_until(self, events: Iterator[tuple[bytes, int]], until: int) -> None:
        """Send events up to `until` deltas at the configured rate; late ones are sent in one write."""
        behaviour, loop = self._behaviour, asyncio.get_running_loop()
        rate, join = behaviour.rate or 0, max(behaviour.join, 1)
        is_segmented = bool(behaviour.segment or behaviour.split)
        started, sent, is_over = loop.time(), 0, self._record.deltas >= until
        while not is_over:
            allowed = _BURST
            if rate:
                allowed = min(_BURST, join * (int((loop.time() - started) * rate / join) + 1) - sent)
            elif behaviour.join > 1:
                allowed = join
            batch, count, is_over = self._take(events, allowed, until)
            if batch and is_segmented:
                await self._send_segments(batch)
            elif batch:
                self._connection.body(batch)
            sent += count
            self._count(count)
            if self._connection.is_full:
                await self._connection.drain()
            if not is_over:
                await self._pace(started + sent / rate if rate else 0)

    async def _pace(self, until: float) -> None:
        """Wait until the next delta is due; a long wait ends at once when the client disconnects."""
        delay_s = until - asyncio.get_running_loop().time()
        if delay_s > _LONG_WAIT_S:
            await self._connection.pause(delay_s)
        elif delay_s > 0:
            await self._timer.at(until)
        else:
            await asyncio.sleep(0)

    def _take(self, events: Iterator[tuple[bytes, int]], allowed: int, until: int) -> tuple[bytes, int, bool]:
        """Return the next events, how many deltas they carry, and whether they are the last."""
        batch: list[bytes] = []
        count, room = 0, min(allowed, until - self._record.deltas)
        while count < room:
            event = next(events, None)
            if event is None:
                return b"".join(batch), count, True
            batch.append(event[0])
            count += event[1]
        return b"".join(batch), count, self._record.deltas + count >= until

    def _count(self, deltas: int) -> None:
        record = self._record
        record.deltas += deltas
        record.sent_bytes = self._connection.sent_bytes
        if deltas and record.first_delta_s is None:
            record.first_delta_s = self._journal.now_s()
            self._journal.notify()

    async def _send_segments(self, data: bytes) -> None:
        """Send each piece of `data` in its own TCP segment."""
        for segment in self._segments(data):
            self._connection.body(segment)
            await self._connection.drain()
            await asyncio.sleep(self._behaviour.segment_s)

    def _segments(self, data: bytes) -> list[bytes]:
        if size := self._behaviour.segment:
            return [data[at : at + size] for at in range(0, len(data), size)]
        cuts = [at for found in _MULTIBYTE.finditer(data) for at in range(found.start() + 1, found.end())]
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    async def deliver(self, answer: ScriptedAnswer) -> str:
        """Send the answer as one JSON document. Return the outcome."""
        behaviour, record = self._behaviour, self._record
        writing_s = len(answer.parts) / behaviour.rate if behaviour.rate else 0
        await self._linger(behaviour.first_s + writing_s)
        faults = self._faults_during(len(answer.parts))
        body = document(answer)
        for fault in faults:
            if fault.kind in ("error", "event_error"):
                error = json.dumps(error_bodies.error_of(fault)).encode()
                self._respond(200, {"content-type": "application/json"}, error)
                return fault.kind
            if fault.kind in ("cut", "malformed"):
                self._respond(200, {"content-type": "application/json"}, body[: len(body) // 2])
                return fault.kind
        record.status = 200
        headers = {"content-type": "application/json", "x-request-id": record.id}
        self._connection.head(200, headers, size=len(body))
        half = len(body) // 2 if faults else 0
        self._connection.body(body[:half])
        for fault in faults:
            if await self._cause(fault, EventEncoder(answer)):
                return fault.kind
        self._connection.body(body[half:])
        self._count(len(answer.parts))
        return "complete"
