"""The log of requests and responses, and waiting for a record that fulfils a condition."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chat.fakeprovider import sample_text
from chat.fakeprovider.answer import ScriptedAnswer
from chat.fakeprovider.connection import ProviderRequest

# The oldest records are dropped: a benchmark keeps the provider running for a long time.
_RECORDS_MAX = 2_000
_SECRET = {"authorization", "api-key", "x-api-key", "cookie"}


@dataclass
class RequestRecord:
    """One request. Times ending in `_s` are seconds since the provider started, on one clock."""

    id: str
    at_s: float
    path: str
    headers: Mapping[str, str]
    body: Any = None
    model: str = ""
    question: str = ""
    attempt: int = 0
    # From the end of the previous attempt at the same question to the arrival of this one.
    gap_s: float | None = None
    behaviour: str = ""
    prefill: str | None = None
    prefill_form: str = ""
    prefill_matched: bool | None = None
    status: int | None = None
    deltas: int = 0
    sent_bytes: int = 0
    # The token counts that were sent.
    usage: dict[str, Any] | None = None
    # running, held (at `gate`), stalled or ended.
    state: str = "running"
    gate: str = ""
    # How it ended: complete, left (the client disconnected), or the fault's name.
    outcome: str = ""
    first_delta_s: float | None = None
    ended_s: float | None = None
    left_s: float | None = None
    time: float = field(default_factory=time.time)
    answer: ScriptedAnswer | None = None
    # text, thinking and full_text after the end.
    final_texts: tuple[str, str, str] = ("", "", "")

    @property
    def text(self) -> str:
        """The answer's text sent so far, exactly."""
        return self.answer.text_of(self.deltas) if self.answer else self.final_texts[0]

    @property
    def thinking(self) -> str:
        """The reasoning sent so far."""
        return self.answer.text_of(self.deltas, "reasoning") if self.answer else self.final_texts[1]

    @property
    def full_text(self) -> str:
        """The text of this response as it would be without faults."""
        return self.answer.text_of(len(self.answer.parts)) if self.answer else self.final_texts[2]

    def settle(self) -> None:
        """Keep the texts, and free the pieces in which they were sent."""
        self.final_texts = (self.text, self.thinking, self.full_text)
        self.answer = None

    @property
    def client_left(self) -> bool:
        return self.left_s is not None

    def as_json(self) -> dict[str, Any]:
        hidden = ("answer", "body", "final_texts")
        shown = {name: value for name, value in vars(self).items() if name not in hidden}
        fields = sorted(self.body) if isinstance(self.body, dict) else []
        more: dict[str, Any] = {
            "fields": fields,
            "text": self.text,
            "thinking": self.thinking,
            "client_left": self.client_left,
        }
        return shown | more


class Journal:
    """All records, oldest first."""

    def __init__(self) -> None:
        self.records: deque[RequestRecord] = deque(maxlen=_RECORDS_MAX)
        self._started = time.monotonic()
        self._attempts: dict[int, int] = {}
        self._ended_s: dict[int, float] = {}
        self._changed = asyncio.Event()
        self._count = 0

    def now_s(self) -> float:
        return self.at_s(time.monotonic())

    def at_s(self, monotonic: float) -> float:
        """Convert a reading of the monotonic clock, which event loops also use, to this journal's time."""
        return monotonic - self._started

    def begin(self, request: ProviderRequest) -> RequestRecord:
        self._count += 1
        shown = {name: value for name, value in request.headers.items() if name not in _SECRET}
        record = RequestRecord(f"req_{self._count}", self.now_s(), request.path, shown)
        self.records.append(record)
        return record

    def count_attempt(self, record: RequestRecord, question: str) -> None:
        """Number this attempt at the question, across all models."""
        key = sample_text.seed_of(question)
        record.question = question
        record.attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
        if (ended_s := self._ended_s.get(key)) is not None:
            record.gap_s = record.at_s - ended_s

    def end(self, record: RequestRecord, outcome: str) -> None:
        record.state, record.outcome, record.ended_s = "ended", outcome, self.now_s()
        record.gate = ""
        record.settle()
        self._ended_s[sample_text.seed_of(record.question)] = record.ended_s
        self.notify()

    def clear(self) -> None:
        """Delete the records of ended requests, and all counts."""
        running = [record for record in self.records if record.state != "ended"]
        self.records.clear()
        self.records.extend(running)
        self._attempts.clear()
        self._ended_s.clear()

    def notify(self) -> None:
        """Wake all waiting `find` calls."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def find(self, condition: Callable[[RequestRecord], bool], count: int = 1) -> list[RequestRecord]:
        """Wait until `condition` holds for `count` records, and return them."""
        while len(found := [record for record in self.records if condition(record)]) < count:
            await self._changed.wait()
        return found
