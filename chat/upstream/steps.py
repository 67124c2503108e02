"""The steps that `stream` yields on the way to an answer.

Events that are stored as they are (`Queued`, `Thinking`, `Delta`, `ToolCall`, `Choices`, `Restarted`) are
shared with the event log. The steps defined here carry a target or an error, which the caller turns into a
text for people, and a `ReceivedImage` is a picture that the caller stores.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from chat import events
from chat.upstream import errors
from chat.upstream.images import ReceivedImage
from chat.upstream.types import Finished, Recovery, Target


@dataclass(frozen=True, slots=True)
class StartedStep:
    """A call is about to be made.

    `attempt`: the number of the call to this target. `queued_s`: its time in the queue. `recovery`: how it
    completes the text that is displayed already; None if there is none. `left_out`: parameters that are not
    sent, or in another form, because the model does not accept them.
    """

    target: Target
    attempt: int
    queued_s: float
    recovery: Recovery | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RefusedStep:
    """`target` does not accept a parameter, according to `error`; it is called again without it."""

    target: Target
    parameter: str
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class RetryingStep:
    """The same model is called again in `wait_s` seconds, because of `error`.

    `attempt`: the number of that call, of at most `of`.
    """

    attempt: int
    of: int
    wait_s: float
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class SwitchedStep:
    """The next calls go to `target`, because of `error` at the model before."""

    target: Target
    error: errors.UpstreamError


@dataclass(frozen=True, slots=True)
class ContinuedStep:
    """`target` is about to continue the text so far, which `error` interrupted."""

    target: Target
    error: errors.UpstreamError


type Step = (
    events.Queued
    | StartedStep
    | RefusedStep
    | RetryingStep
    | SwitchedStep
    | ContinuedStep
    | events.Thinking
    | events.Delta
    | events.ToolCall
    | events.Choices
    | ReceivedImage
    | events.Restarted
    | Finished
)
type Steps = AsyncGenerator[Step]
