"""What the clients of a scenario see: questions, screens, and the record of all events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FINAL = {"completed", "stopped", "failed", "interrupted", "snapshot"}
DEADLINE_S = 60.0


async def until(check: Callable[[], object], what: str, record: Record) -> None:
    """Wait until `check` holds. Raises AssertionError, with the failures so far, after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < end, (
            f"waited {DEADLINE_S:g} s for {what}; failures before: {record.failures[:5]}"
        )
        await asyncio.sleep(0.02)


@dataclass
class Question:
    """What a client asks. `expected`: the text that the provider would send; None: it varies."""

    client_id: str
    text: str
    model: int
    expected: str | None = None
    # The code with which the server must refuse it, if it must.
    refusal: str = ""
    # The ids of its files.
    attachments: list[str] = field(default_factory=list)


@dataclass
class Record:
    """Everything that all clients of a scenario saw: each event once, and every failed check."""

    events: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    last_delta: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def fail(self, failure: str) -> None:
        self.failures.append(failure)

    def add(self, frame: dict[str, Any]) -> None:
        """Record an event. A seq is the same event for every client, before a crash and after it."""
        known = self.events.setdefault((frame["generation"], frame["seq"]), frame)
        if known != frame and "snapshot" not in (known["type"], frame["type"]):
            self.fail(f"event {frame['seq']} of {frame['generation']} was {known}, and is {frame}")
        if frame["type"] == "delta":
            self.last_delta[frame["generation"]] = max(
                frame["seq"], self.last_delta.get(frame["generation"], 0)
            )
        elif frame["type"] in FINAL:
            self.ended.add(frame["generation"])

    def count(self, kind: str) -> int:
        return sum(frame["type"] == kind for frame in self.events.values())

    def text_of(self, generation: int) -> str:
        """Return the text of all deltas of an answer, also of calls that were given up."""
        own = [self.events[key] for key in sorted(self.events) if key[0] == generation]
        return "".join(frame["text"] for frame in own if frame["type"] == "delta")

    def has(self, generation: int, *kinds: str) -> bool:
        return any(
            frame["generation"] == generation and frame["type"] in kinds for frame in self.events.values()
        )


@dataclass
class Screen:
    """What one client shows of one answer."""

    question: Question
    generation: int
    seq: int = 0
    acknowledged: int = 0
    text: str = ""
    end: str = ""

    def apply(self, frame: dict[str, Any]) -> str:
        """Apply the next event; return what is wrong with the text shown then, or an empty string."""
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
