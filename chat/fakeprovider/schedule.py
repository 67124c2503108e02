"""What the control endpoint or a test has arranged for the next requests, and the gates they wait at."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

from chat.fakeprovider import directives
from chat.fakeprovider.directives import Directive, Unknown

CHAT = "/v1/chat/completions"


@dataclass
class Entry:
    """One arrangement: for the next `times` requests, or for a window of time.

    A window lasts `for_s` seconds from `start_s` after now; with `up_s` and `down_s` it flaps: fine
    for `up_s`, then in effect for `down_s`, again and again.
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
        is_meant = path.startswith(self.path) and self.model in ("", model)
        return is_meant and (not self.is_window or self._is_down(now_s - self.made_s - self.start_s))

    def _is_down(self, age_s: float) -> bool:
        return age_s >= 0 and (not self.down_s or age_s % (self.up_s + self.down_s) >= self.up_s)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("directives", "made_s")}


class Script:
    """The arrangements, in order: the first one that fits a request is used; queued before windows."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)

    def take(self, model: str, path: str) -> list[Directive]:
        """Return what is arranged for a request that has just come."""
        now_s = time.monotonic()
        self.entries = [entry for entry in self.entries if not entry.is_over(now_s)]
        fitting = [entry for entry in self.entries if entry.matches(model, path, now_s)]
        fitting.sort(key=lambda entry: entry.is_window)
        if not fitting:
            return []
        fitting[0].used += 1
        return fitting[0].directives


class Gates:
    """Named gates that streams wait at. A gate opened once stays open until it is shut again."""

    def __init__(self) -> None:
        self._gates: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def release(self, name: str) -> None:
        """Let everyone through: those who wait at `name`, and those who will."""
        self.gate(name).set()

    def shut(self) -> None:
        for gate in self._gates.values():
            gate.clear()


def read_entry(raw: object) -> Entry:
    """Return the arrangement that JSON or a query string describes. Raises Unknown."""
    if not isinstance(raw, dict) or not isinstance(raw.get("do"), str):
        raise Unknown('an entry is {"do": "status=503", "times": 1} or so')
    readers = {"times": int, "model": str, "path": str} | dict.fromkeys(
        ("for_s", "start_s", "up_s", "down_s"), float
    )
    unknown = set(raw) - set(readers) - {"do"}
    if unknown:
        raise Unknown(f"unknown {', '.join(sorted(unknown))}; known are: do, {', '.join(readers)}")
    try:
        return Entry(raw["do"], **{name: readers[name](raw[name]) for name in readers if name in raw})
    except (TypeError, ValueError) as exc:
        raise Unknown(str(exc)) from exc


def dice_for(seed: int, question: str, attempt: int) -> random.Random:
    return random.Random(f"{seed}:{question}:{attempt}")  # noqa: S311 - rehearsals are repeatable
