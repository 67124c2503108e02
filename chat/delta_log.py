"""The replayable log of one generation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """Where a running generation stands: its text and thinking up to `seq`."""

    seq: int
    text: str
    thinking: str


def state(generation_id: int, *, prefix: str = "") -> State:
    """Read the log of a generation and return its text so far (after `prefix`), for a page that is made now."""
    raise NotImplementedError
