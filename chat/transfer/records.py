"""How the answers of a conversation were made, and what their user thought of them, as an export has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chat.models import (
    Attachment,
    Attempt,
    Comparison,
    Conversation,
    Feedback,
    Generation,
    ImportedMessage,
    Message,
)

_RUN_FIELDS = (
    *("message_id", "status", "source", "model_name", "request", "finish_reason", "error_code"),
    *("error_message", "recoveries", "left_out", "input_tokens", "output_tokens", "cached_tokens"),
    *("reasoning_tokens", "is_usage_estimated", "cost_usd"),
    *("created_at", "started_at", "first_delta_at", "finished_at"),
)
# Without what only staff see.
_ATTEMPT_FIELDS = (
    *("number", "model_name", "outcome", "recovery", "error_code", "left_out", "wait_s", "queued_s"),
    *("abandoned_text", "abandoned_calls", "input_tokens", "output_tokens", "cached_tokens"),
    *("reasoning_tokens", "is_usage_estimated", "cost_usd", "started_at", "first_delta_at", "finished_at"),
)


def run_fields() -> tuple[str, ...]:
    """Return the columns of a generation that are exported."""
    return _RUN_FIELDS


def imported_messages(conversation: Conversation) -> Iterable[ImportedMessage]:
    return ImportedMessage.objects.filter(message__conversation=conversation)


class Records:
    """The generations of a conversation with their attempts, its feedback, and what was imported."""

    def __init__(
        self,
        conversation: Conversation,
        runs: Iterable[Generation],
        imported: Mapping[int, ImportedMessage],
    ) -> None:
        self._runs, self._imported = runs, imported
        self._files = _files_of(conversation)
        own = Feedback.objects.filter(message__conversation=conversation, user=conversation.user_id)
        self._feedback = {each.message_id: each for each in own}
        self._comparisons = Comparison.verdicts(question__conversation=conversation)
        attempts = Attempt.objects.filter(generation__message__conversation=conversation)
        self._attempts: dict[int, list[dict[str, Any]]] = {}
        for attempt in attempts.order_by("generation", "number").defer("error_detail"):
            values = {name: getattr(attempt, name) for name in _ATTEMPT_FIELDS}
            self._attempts.setdefault(attempt.generation_id, []).append(values)

    def about(self, message: Message) -> dict[str, Any]:
        """Return the further names of a message."""
        given, imported = self._feedback.get(message.pk), self._imported.get(message.pk)
        return {
            "feedback": given
            and {
                "value": given.value,
                "reasons": given.reasons,
                "comment": given.comment,
                "created": given.created_at,
            },
            "comparison": self._comparisons.get(message.pk),
            "imported": _imported(imported),
            **({"attachments": files} if (files := self._files.get(message.pk)) else {}),
        }

    def runs(self) -> list[dict[str, Any]]:
        """Return the generations in the order of their messages, those of imported messages too."""
        found: list[tuple[int, dict[str, Any]]] = []
        for run in self._runs:
            values: dict[str, Any] = {name: getattr(run, name) for name in _RUN_FIELDS}
            found.append((run.message_id, values | {"attempts": self._attempts.get(run.pk, [])}))
        for message_id, imported in self._imported.items():
            own = ((message_id, run | {"message_id": message_id}) for run in imported.runs or ())
            found += [(message_id, _in_order(run)) for message_id, run in own]
        return [run for _id, run in sorted(found, key=lambda each: each[0])]


def _files_of(conversation: Conversation) -> dict[int, list[dict[str, Any]]]:
    """Return what an export says of the files of messages. The ZIP of a user has the files themselves."""
    found: dict[int, list[dict[str, Any]]] = {}
    messages = conversation.messages.filter(attachment_tokens__gt=0)
    for message_id, files in Attachment.by_message(messages, with_text=True).items():
        found[message_id] = [
            {
                "id": str(file.pk),
                "name": file.name,
                "kind": file.kind,
                "type": file.media_type,
                "size_bytes": file.size_bytes,
                "sha256": file.content.sha256 if file.content else None,
                "pages": file.page_count,
                "notes": file.notes,
                "text": file.text,
            }
            for file in files
        ]
    return found


def _in_order(run: dict[str, Any]) -> dict[str, Any]:
    """Return an imported generation in the order of an export, which PostgreSQL does not keep."""
    attempts = [_ordered(each, _ATTEMPT_FIELDS) for each in run.get("attempts", ())]
    return _ordered(run, (*_RUN_FIELDS, "attempts")) | {"attempts": attempts}


def _ordered(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values} | values


def _imported(imported: ImportedMessage | None) -> dict[str, Any] | None:
    """Return where a message came from; None if it was made here or on another Chatsite."""
    if imported is None or imported.runs:
        return None
    value = {"model": imported.model_name, "files": imported.files, "problem": imported.problem}
    return value if any(value.values()) else None
