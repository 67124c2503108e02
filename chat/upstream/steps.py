"""What happens on the way to an answer, as the ladder tells it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from chat import events
from chat.upstream import errors
from chat.upstream.attempt import Finished, Prompt, Target


@dataclass(frozen=True, slots=True)
class Started:
    """A call is about to be made: number `attempt` at `target`, after `queued_s` in line."""

    target: Target
    attempt: int
    queued_s: float


@dataclass(frozen=True, slots=True)
class Retrying:
    """Attempt `attempt` of `of` at the same model follows in `wait_s` seconds, because of `error`."""

    attempt: int
    of: int
    wait_s: float
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class Switched:
    """Another model is asked from now on, because of `error` at the one before."""

    target: Target
    error: errors.UpstreamError


type Step = events.Queued | Started | Retrying | Switched | events.Thinking | events.Delta | Finished
type Steps = AsyncGenerator[Step]
# What to send to a target; after it refused that as too long, something shorter or nothing.
type PromptFor = Callable[[Target, errors.ContextTooLong | None], Prompt | None]
