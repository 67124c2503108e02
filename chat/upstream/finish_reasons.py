"""What the finish reasons of the providers mean for an answer.

Providers use words of their own: Anthropic's `end_turn` is OpenAI's `stop`. They are compared without regard
to case. A word that is not in the table does not count as a clean end.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """How an answer ended. The values of the first four are the finish reasons that OpenAI uses."""

    COMPLETE = "stop"
    LENGTH = "length"
    FILTERED = "content_filter"
    TOOL_CALLS = "tool_calls"
    FAILED = "failed"
    UNKNOWN = "unknown"


_WORDS = {
    Ending.COMPLETE: (
        "stop stopped stop_sequence stop_token end_turn end end_token eos eos_token eos_found "
        "complete completed finish finished done success normal"
    ),
    Ending.LENGTH: (
        "length max_tokens max_token max_output_tokens max_completion_tokens max_new_tokens max_length "
        "model_length model_context_window_exceeded context_length token_limit length_limit error_limit"
    ),
    Ending.FILTERED: (
        "content_filter content_filtered content_policy filtered filter safety recitation blocklist blocked "
        "prohibited_content spii image_safety language refusal sensitive guardrail_intervened moderation "
        "error_toxic"
    ),
    Ending.TOOL_CALLS: "tool_calls tool_call tool_use function_call function_calls",
    Ending.FAILED: (
        "error failed failure fail insufficient_system_resource network_error server_error internal_error "
        "model_error engine_error abort aborted cancel cancelled canceled user_cancel interrupted timeout "
        "timed_out time_limit overloaded rate_limit malformed_function_call unexpected_tool_call"
    ),
}
_ENDINGS = {word: ending for ending, words in _WORDS.items() for word in words.split()}
# What some servers send in every piece before the last one.
_NO_REASONS = frozenset({"", "null", "none", "nil", "undefined", "false", "finish_reason_unspecified"})


def reason_in(value: Any) -> str | None:
    """Return the finish reason in a `finish_reason` field of any type; None if there is none."""
    if value is None or value is False or value in ([], {}):
        return None
    reason = value.strip() if isinstance(value, str) else repr(value)
    return None if reason.lower() in _NO_REASONS else reason


def ending_of(reason: str) -> Ending:
    """Return what a finish reason means."""
    word = reason.lower().removeprefix("finish_reason_").replace("-", "_").replace(" ", "_")
    return _ENDINGS.get(word, Ending.UNKNOWN)
