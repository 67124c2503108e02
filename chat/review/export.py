"""Export conversations as JSON lines, for fine-tuning, as CSV or as Markdown, piece by piece.

What is redacted is gone from the rows already. What a user may not see is masked.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models import Generation, Mark, Message
from chat.review.exported import ExportedConversation, read
from chat.review.masking import Mask, mask_json
from chat.text import inert_cell

# Read together. Memory holds these conversations, never all of them.
CONVERSATIONS_PER_STEP = 20
_RUN = re.compile("~{3,}")


class ExportFormat(models.TextChoices):
    JSONL = "jsonl", _("JSON lines")
    FINE_TUNING = "fine_tuning", _("JSON lines for fine-tuning")
    CSV = "csv", _("CSV")
    MARKDOWN = "markdown", _("Markdown")

    @property
    def extension(self) -> str:
        return {"csv": "csv", "markdown": "md"}.get(str(self), "jsonl")

    @property
    def content_type(self) -> str:
        types = {"csv": "text/csv", "markdown": "text/markdown"}
        return f"{types.get(str(self), 'application/x-ndjson')}; charset=utf-8"


type Writer = Callable[[ExportedConversation], str]


def export(ids: Sequence[UUID], kind: ExportFormat, masks: Mask) -> Iterator[str]:
    """Yield the export of these conversations, in their order, in parts of some conversations each."""
    if kind == ExportFormat.CSV:
        yield "\ufeff" + _csv_lines([CSV_COLUMNS])
    write = WRITERS[kind]
    for start in range(0, len(ids), CONVERSATIONS_PER_STEP):
        yield "".join(write(each) for each in read(ids[start : start + CONVERSATIONS_PER_STEP], masks))


# -- JSON lines -----------------------------------------------------------------------------------


def _jsonl(exported: ExportedConversation) -> str:
    conversation, masks = exported.conversation, exported.masks
    shown = {message.pk for message in exported.shown()}
    verdicts = exported.verdicts
    return _line(
        {
            "id": str(conversation.pk),
            "title": masks(conversation.title),
            "user": exported.user_name,
            "model": conversation.model.name if conversation.model else None,
            "created_at": _time(conversation.created_at),
            "updated_at": _time(conversation.updated_at),
            "deleted_at": _time(conversation.deleted_at),
            "system_prompt": masks(conversation.system_prompt),
            "temperature": conversation.temperature,
            "messages": [
                _json_message(exported, message, shown) | {"comparison": verdicts.get(message.pk)}
                for message in exported.messages
            ],
            "marks": [_json_mark(mark, masks) for mark in exported.marks if mark.message_id is None],
            "redactions": [
                {"by": each.author_name, "at": _time(each.created_at), "reason": each.reason}
                for each in exported.redactions
            ],
        }
    )


def _json_message(exported: ExportedConversation, message: Message, shown: set[int]) -> dict[str, Any]:
    masks = exported.masks
    return {
        "id": message.pk,
        "parent": message.parent_id,
        "role": message.role,
        "text": masks(message.text),
        "thinking": masks(message.thinking),
        "tool_calls": mask_json(masks, message.tool_calls),
        "further_choices": mask_json(masks, message.further_choices),
        "created_at": _time(message.created_at),
        "is_shown": message.pk in shown,
        "generations": [_json_run(run) for run in exported.runs.get(message.pk, [])],
        "marks": [_json_mark(mark, masks) for mark in exported.marks if mark.message_id == message.pk],
        "feedback": [
            {
                "value": "up" if each.value > 0 else "down",
                "reasons": each.reasons,
                "comment": masks(each.comment),
                "at": _time(each.created_at),
            }
            for each in exported.feedback
            if each.message_id == message.pk
        ],
    }


def _json_run(run: Generation) -> dict[str, Any]:
    return {
        "model": run.model_name,
        "status": run.status,
        "source": run.source,
        "finish_reason": run.finish_reason,
        "error_code": run.error_code,
        "calls": run.calls,
        "recoveries": run.recoveries,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cost_usd": None if run.cost_usd is None else str(run.cost_usd),
        "first_text_s": run.first_delta_s,
        "duration_s": run.duration_s,
        "attempts": [
            {"model": each.model_name, "outcome": each.outcome, "error_code": each.error_code}
            for each in run.attempts.all()
        ],
    }


def _json_mark(mark: Mark, masks: Mask) -> dict[str, Any]:
    values: dict[str, Any] = {"kind": mark.kind, "by": mark.author_name, "at": _time(mark.created_at)}
    if mark.label is not None:
        values["label"] = mark.label.name
    if mark.criterion is not None:
        values |= {"criterion": mark.criterion.name, "value": mark.value, "value_name": mark.value_name}
    if mark.text:
        values["text"] = masks(mark.text)
    if mark.resolved_at is not None:
        values |= {"resolved_at": _time(mark.resolved_at), "resolved_by": mark.resolved_by_name}
    return values


def _fine_tuning(exported: ExportedConversation) -> str:
    """Return a line with the shown branch, or nothing if it has no answer with text."""
    masks, shown = exported.masks, exported.shown()
    if not any(message.role == Message.Role.ASSISTANT and message.text for message in shown):
        return ""
    system = exported.conversation.system_prompt
    messages = [{"role": "system", "content": masks(system)}] if system else []
    place = {message.pk: number for number, message in enumerate(shown, start=len(messages))}
    messages += [{"role": message.role, "content": masks(message.text)} for message in shown]
    verdicts = [
        {
            "criterion": mark.criterion.name,
            "value": mark.value,
            "by": mark.author_name,
            # The place in `messages`; null: all of it.
            "message": place.get(mark.message_id) if mark.message_id else None,
        }
        for mark in exported.marks
        if mark.criterion is not None and (mark.message_id is None or mark.message_id in place)
    ]
    labels = sorted({mark.label.name for mark in exported.marks if mark.label is not None})
    thumbs = [
        {"message": place[each.message_id], "value": "up" if each.value > 0 else "down"}
        for each in exported.feedback
        if each.message_id in place
    ]
    beside = {"verdicts": verdicts, "labels": labels, "feedback": thumbs}
    return _line({"messages": messages, **beside, "preferences": _preferences(exported, place)})


def _preferences(exported: ExportedConversation, place: dict[int, int]) -> list[dict[str, Any]]:
    """Return what the user preferred among the answers that were compared on the shown branch."""
    texts = {message.pk: exported.masks(message.text) for message in exported.messages}
    return [
        {
            # The place of the question in `messages`.
            "question": place[each.question_id],
            "chosen": texts[each.chosen_id],
            "rejected": [texts[pk] for pk in each.answers if pk != each.chosen_id and texts.get(pk)],
        }
        for each in exported.comparisons
        if each.chosen_id is not None and each.question_id in place
    ]


def _line(value: Any) -> str:
    # Line separators would be line breaks for some readers of JSON lines; ASCII has none.
    return json.dumps(value, ensure_ascii=True) + "\n"


# -- CSV ------------------------------------------------------------------------------------------

CSV_COLUMNS = [
    *("conversation", "title", "user", "message", "parent", "role", "is_shown", "created_at", "model"),
    *("status", "error_code", "input_tokens", "output_tokens", "cost_usd", "feedback", "comparison"),
    *("labels", "flags", "verdicts", "text"),
]


def _csv(exported: ExportedConversation) -> str:
    shown = {message.pk for message in exported.shown()}
    return _csv_lines([_csv_row(exported, message, shown) for message in exported.messages])


def _csv_row(exported: ExportedConversation, message: Message, shown: set[int]) -> list[Any]:
    masks = exported.masks
    runs = exported.runs.get(message.pk, [])
    last = runs[-1] if runs else None
    marks = [mark for mark in exported.marks if mark.message_id in {None, message.pk}]
    flags = [mark for mark in marks if mark.kind == Mark.Kind.FLAG and mark.resolved_at is None]
    verdicts = [
        f"{mark.criterion.name}={mark.value} ({mark.author_name})" for mark in marks if mark.criterion
    ]
    return [
        str(exported.conversation.pk),
        masks(exported.conversation.title),
        exported.user_name,
        message.pk,
        message.parent_id,
        message.role,
        int(message.pk in shown),
        _time(message.created_at),
        *((last.model_name, last.status, last.error_code) if last else ("", "", "")),
        *((last.input_tokens, last.output_tokens, last.cost_usd) if last else ("", "", "")),
        next((each.value for each in exported.feedback if each.message_id == message.pk), ""),
        exported.verdicts.get(message.pk, ""),
        "; ".join(sorted({mark.label.name for mark in marks if mark.label})),
        len(flags),
        "; ".join(verdicts),
        masks(message.text),
    ]


def _csv_lines(rows: list[list[Any]]) -> str:
    output = io.StringIO()
    csv.writer(output).writerows([[inert_cell(value) for value in row] for row in rows])
    return output.getvalue()


# -- Markdown -------------------------------------------------------------------------------------


def _markdown(exported: ExportedConversation) -> str:
    """Return the shown branch. Texts are in code fences: nothing in them is markup or HTML."""
    conversation, masks = exported.conversation, exported.masks
    parts = [f"# {_one_line(masks(str(conversation)))}\n\n"]
    model = conversation.model.name if conversation.model else "–"
    parts.append(
        f"- user: `{_one_line(exported.user_name)}`\n- model: `{_one_line(model)}`\n"
        f"- created: {_time(conversation.created_at)}\n- id: {conversation.pk}\n\n"
    )
    if conversation.system_prompt:
        parts.append(f"## system\n\n{_fenced(masks(conversation.system_prompt))}")
    parts += [
        f"## {message.role} · {_time(message.created_at)}\n\n{_fenced(masks(message.text))}"
        f"{_markdown_marks([mark for mark in exported.marks if mark.message_id == message.pk], masks)}"
        for message in exported.shown()
    ]
    own = [mark for mark in exported.marks if mark.message_id is None]
    if own:
        parts.append(f"## review\n\n{_markdown_marks(own, masks)}")
    return "".join(parts) + "\n"


def _markdown_marks(marks: list[Mark], masks: Mask) -> str:
    lines = []
    for mark in marks:
        words = mark.label.name if mark.label else ""
        words = f"{mark.criterion.name}: {mark.value_name}" if mark.criterion else words
        words = " ".join(part for part in (words, masks(mark.text)) if part)
        lines.append(f"- {mark.kind} `{_one_line(words)}` ({_one_line(mark.author_name)})\n")
    return "".join(lines) + "\n" * bool(lines)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in _RUN.findall(text)), default=2)
    fence = "~" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}\n\n"


def _one_line(text: str) -> str:
    """Return text that stays in its line and is no markup."""
    return re.sub(r"[`<>\[\]\\*_#|&]", " ", " ".join(text.split()))


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


WRITERS: dict[str, Writer] = {
    ExportFormat.JSONL: _jsonl,
    ExportFormat.FINE_TUNING: _fine_tuning,
    ExportFormat.CSV: _csv,
    ExportFormat.MARKDOWN: _markdown,
}
