"""What happens on the way to an answer, as the ladder tells it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from chat import events
from chat.upstream import errors
from chat.upstream.types import Finished, Prompt, Recovery, Target


@dataclass(frozen=True, slots=True)
class StartedStep:
    """A call is about to be made: number `attempt` at `target`, after `queued_s` in line.

    `recovery`: how it goes on after the text that is on the screens, if there is some.
    """

    target: Target
    attempt: int
    queued_s: float
    recovery: Recovery | None = None


@dataclass(frozen=True, slots=True)
class RetryingStep:
    """Attempt `attempt` of `of` at the same model follows in `wait_s` seconds, because of `error`."""

    attempt: int
    of: int
    wait_s: float
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class SwitchedStep:
    """Another model is asked from now on, because of `error` at the one before."""

    target: Target
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class ContinuedStep:
    """`target` is sent the text so far, which `error` cut short, and what follows goes on from there."""

    target: Target
    error: errors.UpstreamError


type Step = (
    events.Queued
    | StartedStep
    | RetryingStep
    | SwitchedStep
    | ContinuedStep
    | events.Thinking
    | events.Delta
    | events.Restarted
    | Finished
)
type Steps = AsyncGenerator[Step]


class PromptFor(Protocol):
    def __call__(
        self, target: Target, *, partial: str, may_prefill: bool, refused: errors.ContextTooLong | None
    ) -> Prompt | None:
        """Return what to send to a target.

        `partial`: this answer so far, to be written on. `may_prefill`: whether the target takes the
        beginning of its answer as the last message. `refused`: why something shorter than last time is
        wanted; None is returned if there is nothing shorter.
        """
