"""The details of one generation, as the JSON document that `manage.py ask --json` prints."""

from __future__ import annotations

from typing import Any

from chat.management.exits import Exit
from chat.models.attempt import Attempt
from chat.models.generation import Generation


def as_json(generation_id: int, exit_code: Exit) -> dict[str, Any]:
    """Return the details of a final generation. Times in seconds, the cost in USD, None if unknown."""
    generation = Generation.objects.select_related("message").get(pk=generation_id)
    attempts = [_attempt(attempt) for attempt in generation.attempts.order_by("number")]
    return {
        "text": generation.message.text,
        "status": generation.status,
        "finish_reason": generation.finish_reason or None,
        "error": _error(generation),
        "exit_code": int(exit_code),
        "model": attempts[-1]["model"] if attempts else generation.model_name,
        "asked_model": generation.model_name,
        "usage": {
            "input_tokens": generation.input_tokens,
            "output_tokens": generation.output_tokens,
            "is_estimated": generation.is_usage_estimated,
        },
        "cost_usd": None if generation.cost_usd is None else float(generation.cost_usd),
        "queued_s": generation.queued_s,
        "first_delta_s": generation.first_delta_s,
        "duration_s": generation.duration_s,
        "attempts": attempts,
        "generation": generation.pk,
        "conversation": str(generation.message.conversation_id),
    }


def _error(generation: Generation) -> dict[str, str] | None:
    if not generation.error_code:
        return None
    return {"code": generation.error_code, "message": generation.error_message}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    duration = attempt.finished_at - attempt.started_at if attempt.finished_at else None
    return {
        "number": attempt.number,
        "model": attempt.model_name,
        "endpoint": attempt.endpoint_name,
        "outcome": attempt.outcome,
        "error_code": attempt.error_code or None,
        "recovery": attempt.recovery or None,
        "wait_s": attempt.wait_s,
        "queued_s": attempt.queued_s,
        "duration_s": None if duration is None else duration.total_seconds(),
    }
