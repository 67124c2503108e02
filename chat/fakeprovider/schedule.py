"""Faults scheduled for the next requests or for a window of time, and gates at which streams wait."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

from chat.fakeprovider import directives
from chat.fakeprovider.directives import Directive, UnknownDirective

CHAT = "/v1/chat/completions"


@dataclass
class ScheduledFault:
    """Directives for the next `times` requests, or for a window of time.

    A window starts `start_s` from now and lasts `for_s` seconds. With `up_s` and `down_s` it flaps: it
    alternates between `up_s` seconds without the directives and `down_s` seconds with them.
    """

    do: str
    times: int = 1
    model: str = ""
    path: str = ""
    for_s: float = 0
    start_s: float = 0
    up_s: float = 0
    down_s: float = 0
    used: int = 0
    made_s: float = field(default_factory=time.monotonic)
    directives: list[Directive] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directives = [directives.parse(part) for part in self.do.split(";")]
        self.path = self.path or ("/v1/" if self.is_window else CHAT)

    @property
    def is_window(self) -> bool:
        return bool(self.for_s or self.down_s)

    def is_over(self, now_s: float) -> bool:
        if not self.is_window:
            return self.used >= self.times
        return bool(self.for_s) and now_s >= self.made_s + self.start_s + self.for_s

    def matches(self, model: str, path: str, now_s: float) -> bool:
        is_targeted = path.startswith(self.path) and self.model in ("", model)
        return is_targeted and (not self.is_window or self._is_down(now_s - self.made_s - self.start_s))

    def _is_down(self, age_s: float) -> bool:
        return age_s >= 0 and (not self.down_s or age_s % (self.up_s + self.down_s) >= self.up_s)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("directives", "made_s")}


class Schedule:
    """Scheduled faults, in order. A request uses the first that matches; counted ones precede windows."""

    def __init__(self) -> None:
        self.faults: list[ScheduledFault] = []

    def add(self, fault: ScheduledFault) -> None:
        self.faults.append(fault)

    def take(self, model: str, path: str) -> list[Directive]:
        """Return the directives for a request that has just arrived, and count their use."""
        now_s = time.monotonic()
        self.faults = [fault for fault in self.faults if not fault.is_over(now_s)]
        matches = [fault for fault in self.faults if fault.matches(model, path, now_s)]
        matches.sort(key=lambda fault: fault.is_window)
        if not matches:
            return []
        matches[0].used += 1
        return matches[0].directives


class Gates:
    """Named gates at which streams wait. A released gate stays open until it is closed."""

    def __init__(self) -> None:
        self._gates: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def release(self, name: str) -> None:
        """Open a gate for the streams that wait at it and for later ones."""
        self.gate(name).set()

    def close_all(self) -> None:
        for gate in self._gates.values():
            gate.clear()


def parse_scheduled(raw: object) -> ScheduledFault:
    """Parse a scheduled fault from JSON or a query string. Raises UnknownDirective."""
    if not isinstance(raw, dict) or not isinstance(raw.get("do"), str):
        raise UnknownDirective('expected an object such as {"do": "status=503", "times": 1}')
    readers = {"times": int, "model": str, "path": str} | dict.fromkeys(
        ("for_s", "start_s", "up_s", "down_s"), float
    )
    unknown = set(raw) - set(readers) - {"do"}
    if unknown:
        raise UnknownDirective(
            f"unknown field {', '.join(sorted(unknown))}; known fields: do, {', '.join(readers)}"
        )
    try:
        return ScheduledFault(
            raw["do"], **{name: readers[name](raw[name]) for name in readers if name in raw}
        )
    except (TypeError, ValueError) as exc:
        raise UnknownDirective(str(exc)) from exc


def rng_for(seed: int, question: str, attempt: int) -> random.Random:
    """Return a generator that gives the same values for the same attempt in every run."""
    return random.Random(f"{seed}:{question}:{attempt}")  # noqa: S311 - not used for security
