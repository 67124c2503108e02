"""Save the final state of a generation: status, text, usage and attempts, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import events, search
from chat.event_log.lease import LeaseLost
from chat.generation.attempts import AttemptRecorder
from chat.models import rows
from chat.models.attachment import Attachment
from chat.models.attempt import Attempt
from chat.models.conversation_summary import ConversationSummary
from chat.models.generation import Generation
from chat.models.long_text import SlicedText, TextSlice, start_of
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
    "cached_tokens",
    "reasoning_tokens",
    "is_usage_estimated",
    "cost_usd",
)


@dataclass(frozen=True, slots=True)
class FinalText:
    """What a message says in the end: Markdown with the prefix, thinking, rendered HTML, and the rest."""

    text: str | SlicedText
    thinking: str | SlicedText
    html: str
    tool_calls: Sequence[events.WholeToolCall] = ()
    is_refusal: bool = False
    choices: Sequence[events.ChoicePiece] = ()
    images: Sequence[events.Image] = ()


def not_stored() -> events.Interrupted:
    """Return the end of an answer whose events could not be committed."""
    message = _("The answer could not be saved. Try again. If this happens again, contact an administrator.")
    return events.Interrupted(NOT_STORED, message)


def save_outcome(
    generation: Generation, terminal: events.Terminal, final: FinalText, attempts: AttemptRecorder
) -> None:
    """Write the final state; runs in the transaction of the last event, and again if that failed.

    The generation's usage is set already. Raises LeaseLost if another process owns it by now.
    """
    generation.finished_at = timezone.now()
    generation.status = _STATUS[type(terminal)]
    if isinstance(terminal, events.Completed):
        generation.finish_reason = terminal.finish_reason
    elif isinstance(terminal, events.Failed | events.Interrupted):
        generation.error_code, generation.error_message = terminal.code, terminal.message
    names = _FINAL_FIELDS if generation.file_notes is None else (*_FINAL_FIELDS, "file_notes")
    values = {name: getattr(generation, name) for name in names}
    values["calls"] -= attempts.pending_calls  # counted by the claim, and never made
    guards = {"finished_at": None, "owner": generation.owner, "epoch": generation.epoch}
    if not rows.update(Generation, generation.pk, values, guards=guards):
        raise LeaseLost
    store_text(generation.message_id, final)
    Attachment.attach_to_answer(generation.message_id, [image.attachment for image in final.images])
    start = start_of(final.text)
    search.store([_document(generation, start)] if start else [])
    ConversationSummary.add(generation, start)
    attempts.finish(_ATTEMPT_OUTCOME[type(terminal)])


def store_text(message_id: int, final: FinalText) -> None:
    """Write a message's final text and tool calls."""
    TextSlice.check_complete(final.text)
    TextSlice.check_complete(final.thinking)
    values = {
        "text": final.text,
        "thinking": final.thinking,
        "html": final.html,
        "tool_calls": msgspec.to_builtins(final.tool_calls) or None,
        "is_refusal": final.is_refusal,
        "choices": msgspec.to_builtins(events.whole_choices(final.choices)) or None,
    }
    rows.update(Message, message_id, values)


def _document(generation: Generation, text: str) -> search.Document:
    conversation = generation.message.conversation
    return search.Document(generation.message_id, conversation.user_id, conversation.is_hidden, text)
