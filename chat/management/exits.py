"""The exit codes of commands that ask: each tells a class of failure, so that a script can decide."""

from __future__ import annotations

from enum import IntEnum

from chat import events
from chat.models.generation import Generation


class Exit(IntEnum):
    """How a question ended."""

    COMPLETE = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    REJECTED = 4
    UNAVAILABLE = 5
    INTERRUPTED = 6
    CTRL_C = 130
    PIPE_CLOSED = 141
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    Exit.COMPLETE: "the answer is complete, or as long as the model may write (said on stderr)",
    Exit.FAULT: "a fault of this program or its database",
    Exit.USAGE: "the command line makes no sense",
    Exit.REFUSED: "refused here: no such model, too many in line, the account is disabled",
    Exit.REJECTED: "the provider said no, and would again: key, unknown model, credit, content filter",
    Exit.UNAVAILABLE: "no answer for now: rate limit, outage, time-out; try again later",
    Exit.INTERRUPTED: "the answer was cut and could not be completed; its text so far is printed",
    Exit.CTRL_C: "stopped by Ctrl-C; its text so far is kept",
    Exit.PIPE_CLOSED: "whoever read the answer has left; it was stopped",
    Exit.TERMINATED: "stopped by SIGTERM; its text so far is kept",
}

# What ends an answer before its first word, by its code. What is in neither set may be over in a minute.
OUR_REFUSALS = {"queue_full", "not_asked", "demo_model_unavailable"}
REJECTIONS = {
    "rejected",
    "wrong_key",
    "forbidden",
    "unknown_model",
    "redirected",
    "context_too_long",
    "content_filter",
    "insufficient_quota",
    "no_text",
}


def exit_of(last: events.Terminal | events.Snapshot) -> Exit:
    """Return the exit code that says how an answer ended, if nobody stopped it from here."""
    match last:
        case events.Snapshot(status=Generation.Status.COMPLETED) | events.Completed():
            return Exit.REJECTED if last.finish_reason == "content_filter" else Exit.COMPLETE
        case events.Snapshot(status=Generation.Status.FAILED) | events.Failed():
            return _exit_of_failure(last.code)
    return Exit.INTERRUPTED


def _exit_of_failure(code: str) -> Exit:
    if code in OUR_REFUSALS:
        return Exit.REFUSED
    if code in REJECTIONS:
        return Exit.REJECTED
    return Exit.FAULT if code == "internal" else Exit.UNAVAILABLE


def table() -> str:
    """Return all codes and what they mean, a line each."""
    return "\n".join(f"  {each:>3}  {each.meaning}" for each in Exit)
