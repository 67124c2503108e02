"""Exit codes of commands that call a model. Each stands for a class of failure that scripts can act on."""

from __future__ import annotations

from enum import IntEnum

from chat import events
from chat.models.generation import Generation


class Exit(IntEnum):
    """How a command ended."""

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
    Exit.COMPLETE: "the answer is complete, or ends at the length limit (reported on stderr)",
    Exit.FAULT: "an internal error, or the database cannot be used",
    Exit.USAGE: "invalid command line",
    Exit.REFUSED: "refused by Chatsite: unknown model, full queue, disabled account, no room in a budget",
    Exit.REJECTED: "rejected by the provider: API key, unknown model, no credit, content filter",
    Exit.UNAVAILABLE: "temporarily unavailable: rate limit, outage, timeout; try again later",
    Exit.INTERRUPTED: "the answer was interrupted and could not be completed; the text so far is printed",
    Exit.CTRL_C: "stopped by Ctrl-C; the text so far is kept",
    Exit.PIPE_CLOSED: "standard output was closed; the answer was stopped",
    Exit.TERMINATED: "stopped by SIGTERM; the text so far is kept",
}

# Codes of failures before the first text. All others may succeed later.
OUR_REFUSALS = {"queue_full", "not_asked", "demo_model_unavailable", "budget_exceeded"}
REJECTIONS = {
    "rejected",
    "wrong_key",
    "forbidden",
    "unknown_model",
    "redirected",
    "wrong_address",
    "untrusted_certificate",
    "context_too_long",
    "content_filter",
    "insufficient_quota",
    "no_text",
}


def exit_of(last: events.Terminal | events.Snapshot) -> Exit:
    """Return the exit code for the end of an answer that this command did not stop itself."""
    match last:
        case events.Snapshot(status=Generation.Status.COMPLETED) | events.Completed():
            return Exit.REJECTED if last.finish_reason == "content_filter" else Exit.COMPLETE
        case events.Snapshot(status=Generation.Status.FAILED) | events.Failed():
            return exit_of_failure(last.code)
    return Exit.INTERRUPTED


def exit_of_failure(code: str) -> Exit:
    """Return the exit code for the `code` of an upstream error."""
    if code in OUR_REFUSALS:
        return Exit.REFUSED
    if code in REJECTIONS:
        return Exit.REJECTED
    return Exit.FAULT if code == "internal" else Exit.UNAVAILABLE


def table() -> str:
    """Return all exit codes with their meanings, one per line."""
    return "\n".join(f"  {code:>3}  {code.meaning}" for code in Exit)
