"""Save the final state of a generation: status, text, usage and attempts, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from chat import events
from chat.event_log.lease import LeaseLost
from chat.generation.attempts import AttemptRecorder
from chat.models.attempt import Attempt
from chat.models.generation import Generation
from chat.models.message import Message

# The error code of an answer whose events could not be committed.
NOT_STORED = "not_stored"

_STATUS: dict[type[events.Terminal], str] = {
    events.Completed: Generation.Status.COMPLETED,
    events.Stopped: Generation.Status.STOPPED,
    events.Failed: Generation.Status.FAILED,
    events.Interrupted: Generation.Status.INTERRUPTED,
}
_ATTEMPT_OUTCOME: dict[type[events.Terminal], str] = {
    events.Completed: Attempt.Outcome.COMPLETED,
    events.Stopped: Attempt.Outcome.STOPPED,
    events.Failed: Attempt.Outcome.FAILED,
    events.Interrupted: Attempt.Outcome.FAILED,
}
_FINAL_FIELDS = (
    "status",
    "calls",
    "finish_reason",
    "error_code",
    "error_message",
    "left_out",
    "first_delta_at",
    "finished_at",
    "input_tokens",
    "output_tokens",
    "is_usage_estimated",
    "cost_usd",
)


@dataclass(frozen=True, slots=True)
class FinalText:
    """What a message says in the end: its Markdown with the prefix, its thinking, and its rendered HTML."""

    text: str
    thinking: str
    html: str


def save_outcome(
    generation: Generation, terminal: events.Terminal, final: FinalText, attempts: AttemptRecorder
) -> None:
    """Write the final state; runs in the transaction of the last event.

    The generation's usage is set already. Raises LeaseLost if another process owns it by now.
    """
    own = Generation.objects.active().filter(pk=generation.pk, owner=generation.owner, epoch=generation.epoch)
    generation.finished_at = timezone.now()
    generation.status = _STATUS[type(terminal)]
    if isinstance(terminal, events.Completed):
        generation.finish_reason = terminal.finish_reason
    elif isinstance(terminal, events.Failed | events.Interrupted):
        generation.error_code, generation.error_message = terminal.code, terminal.message
    generation.calls -= attempts.pending_calls  # counted by the claim, and never made
    if not own.update(**{name: getattr(generation, name) for name in _FINAL_FIELDS}):
        raise LeaseLost
    store_text(generation.message_id, final)
    attempts.finish(_ATTEMPT_OUTCOME[type(terminal)])


def store_text(message_id: int, final: FinalText) -> None:
    """Write a message's final text."""
    Message.objects.filter(pk=message_id).update(text=final.text, thinking=final.thinking, html=final.html)
