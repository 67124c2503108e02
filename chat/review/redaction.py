"""Remove text from a conversation, everywhere it is kept, and leave a marked gap.

A phrase is removed wherever it stands in the conversation; a message can be removed as a whole. COVERED lists
each column that can hold text of users or models, and a test compares it with the tables. All new values are
computed first, without a lock. One short transaction then stores them, unless the conversation has changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractUser
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from chat import rendering
from chat.errors import RequestRefused
from chat.event_log.read import prune_all
from chat.models import (
    AccessRecord,
    Attachment,
    Attempt,
    Batch,
    BatchLine,
    Conversation,
    Feedback,
    Generation,
    ImportedMessage,
    LargeRequest,
    Mark,
    Message,
    Redaction,
    RequestSlice,
    SavedView,
    TextSlice,
)
from chat.models.redaction import GAP
from chat.review.chained import chained_from
from chat.review.replacing import (
    TITLE_MAX_CHARS,
    Replace,
    attachments_of,
    replace_json,
    replaced,
    replaced_attachment,
    replaced_calls,
    replaced_choices,
    replaced_import,
    replaced_title,
    slices_of,
    without_messages,
)
from chat.text import clean

# Shorter phrases would be found in the middle of unrelated words.
PHRASE_MIN_CHARS = 2
PHRASE_MAX_CHARS = 20_000
# A shorter message, such as “yes”, is removed in its own place only, and not where others say the same.
COPY_MIN_CHARS = 8
REASON_MAX_CHARS = 500
# Between two words of a phrase, the source may have line breaks and Markdown's marks.
_BETWEEN_WORDS = r"[\s*_`~>#|]+"
# By table: the columns that hold text of users or models.
COVERED: dict[type[models.Model], list[str]] = {
    Conversation: ["title", "system_prompt"],
    Message: ["text", "thinking", "html", "tool_calls", "choices"],
    Generation: ["prefix", "error_message", "request", "file_notes"],
    Attachment: ["name", "text", "notes"],
    Attempt: ["abandoned_text", "abandoned_calls", "error_detail"],
    Feedback: ["comment"],
    ImportedMessage: ["files", "problem", "runs"],
    Mark: ["text"],
    RequestSlice: ["data"],
    Batch: ["name", "template", "system_prompt", "error_message"],
    BatchLine: ["cells", "prompt", "request", "reason"],
    Redaction: ["reason"],
    AccessRecord: ["details"],
    SavedView: ["name", "query"],
    LogEntry: ["object_repr", "change_message"],
}


@dataclass(frozen=True, slots=True)
class RedactionResult:
    """`places`: how many values of rows changed. `messages`: ids of those whose text changed."""

    places: int
    messages: list[int]


@dataclass(slots=True)
class _Change:
    row: models.Model
    values: dict[str, Any]


@dataclass(slots=True)
class _Plan:
    changes: list[_Change] = field(default_factory=list)
    # Large requests, by the id of their generation: the new messages.
    large: dict[int, bytes] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.large

    def add(self, row: models.Model, **values: Any) -> None:
        changed = {name: value for name, value in values.items() if getattr(row, name) != value}
        if changed:
            self.changes.append(_Change(row, changed))


def redact_phrase(conversation: Conversation, phrase: str, author: AbstractUser, reason: str) -> Redaction:
    """Remove a phrase from a conversation, whatever its case and line breaks.

    Raises RequestRefused: `empty`, `too_long`, `no_reason`, `not_found`, `busy`, `changed`.
    """
    pattern = phrase_pattern(phrase)
    return _redact(conversation, None, author, reason, lambda text: pattern.sub(GAP, text))


def redact_message(
    conversation: Conversation, message_id: int, author: AbstractUser, reason: str
) -> Redaction:
    """Remove the whole text of a message, and every copy of it. Raises as `redact_phrase`."""
    message = conversation.messages.filter(pk=message_id).first()
    if message is None:
        raise RequestRefused("not_found", _("This message does not belong to the conversation."))
    texts = (message.text.strip(), message.thinking.strip())
    copies = [re.escape(text) for text in texts if len(text) >= COPY_MIN_CHARS]
    # Without copies, nothing matches.
    pattern = re.compile("|".join(copies) or r"(?!)")
    return _redact(conversation, message, author, reason, lambda text: pattern.sub(GAP, text))


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Return the pattern that finds a phrase. Raises RequestRefused: `empty`, `too_long`."""
    words = clean(phrase).split()
    if sum(map(len, words)) < PHRASE_MIN_CHARS:
        raise RequestRefused("empty", _("Enter the text to remove: two characters or more."))
    if len(phrase) > PHRASE_MAX_CHARS:
        raise RequestRefused("too_long", _("This text is too long. Redact the whole message instead."))
    return re.compile(_BETWEEN_WORDS.join(map(re.escape, words)), re.IGNORECASE)


def _redact(
    conversation: Conversation, message: Message | None, author: AbstractUser, reason: str, replace: Replace
) -> Redaction:
    reason = clean(reason).strip()[:REASON_MAX_CHARS]
    if not reason:
        raise RequestRefused("no_reason", _("Write why it is removed. The reason is kept, the text is not."))
    if replace(reason) != reason:
        raise RequestRefused("no_reason", _("The reason must not repeat the text that is removed."))
    chained = chained_from(conversation)
    newest = {each.pk: _check_is_idle(each, None) for each in (conversation, *chained)}
    plan = _plan(conversation, message, replace)
    _plan_logs(plan, replace)
    if plan.is_empty:
        raise RequestRefused("not_found", _("This text was not found in the conversation."))
    copies = [(each, _plan(each, None, replace)) for each in chained]
    with transaction.atomic():
        done = [
            _store(each, part, message if part is plan else None, author, reason, newest[each.pk])
            for each, part in ((conversation, plan), *copies)
            if not part.is_empty
        ]
        return done[0]


def _check_is_idle(conversation: Conversation, newest: int | None) -> int:
    """Return the newest generation. Raises RequestRefused: `busy`, `changed` if it is not `newest`."""
    own = Generation.objects.filter(message__conversation=conversation)
    if own.active().exists():
        raise RequestRefused("busy", _("An answer is being written. Wait until it is complete, or stop it."))
    found = own.order_by("-pk").values_list("pk", flat=True).first() or 0
    if newest is not None and found != newest:
        raise RequestRefused("changed", _("The conversation has just changed. Try again."))
    return found


def _plan(conversation: Conversation, whole: Message | None, replace: Replace) -> _Plan:
    plan = _Plan()
    messages = list(conversation.messages.order_by("pk"))
    for message in messages:
        is_whole = whole is not None and message.pk == whole.pk
        text = GAP if is_whole else replace(message.text)
        thinking = GAP if is_whole and message.thinking else replace(message.thinking)
        html = message.html if text == message.text else (rendering.render(text) if message.html else "")
        calls = replaced_calls(message.tool_calls, replace, is_whole=is_whole)
        choices = replaced_choices(message.choices, replace, is_whole=is_whole)
        plan.add(message, text=text, thinking=thinking, html=html, tool_calls=calls, choices=choices)
    first = next((message for message in messages if message.parent_id is None), None)
    plan.add(
        conversation,
        title=replaced_title(conversation, first, whole, replace),
        system_prompt=replace(conversation.system_prompt),
    )
    for attachment in attachments_of(conversation):
        plan.add(attachment, **replaced_attachment(attachment, replace, whole))
    _plan_generations(plan, conversation, whole, replace)
    _plan_lines(plan, conversation, replace, is_whole=whole is not None)
    for feedback in Feedback.objects.filter(message__conversation=conversation):
        is_whole = whole is not None and feedback.message_id == whole.pk
        plan.add(
            feedback, comment=replace(feedback.comment) if not is_whole else GAP * bool(feedback.comment)
        )
    for imported in ImportedMessage.objects.filter(message__conversation=conversation):
        is_whole = whole is not None and imported.message_id == whole.pk
        plan.add(imported, **replaced_import(imported, replace, is_whole=is_whole))
    for mark in Mark.objects.filter(conversation=conversation):
        plan.add(mark, text=replace(mark.text))
    for redaction in Redaction.objects.filter(conversation=conversation):
        plan.add(redaction, reason=replace(redaction.reason)[:REASON_MAX_CHARS])
    _plan_history(plan, conversation, replace)
    return plan


def _plan_generations(
    plan: _Plan, conversation: Conversation, whole: Message | None, replace: Replace
) -> None:
    generations = Generation.objects.filter(message__conversation=conversation)
    for generation in generations.prefetch_related("attempts"):
        is_whole = whole is not None and generation.message_id == whole.pk
        # A request is the question of its conversation: a whole message takes all of its messages along.
        request = generation.request
        if request is not None:
            request = replace_json(replace, request)
            request = without_messages(request) if whole is not None else request
        plan.add(
            generation,
            prefix=replaced(generation.prefix, replace, is_whole=is_whole),
            error_message=replace(generation.error_message),
            file_notes=generation.file_notes and replace_json(replace, generation.file_notes),
            request=request,
        )
        for attempt in generation.attempts.all():
            plan.add(
                attempt,
                abandoned_text=replaced(attempt.abandoned_text, replace, is_whole=is_whole),
                abandoned_calls=replaced_calls(attempt.abandoned_calls, replace, is_whole=is_whole),
                error_detail=replaced(attempt.error_detail, replace, is_whole=is_whole),
            )
        if generation.request and generation.request.get("large"):
            _plan_large(plan, generation.pk, replace, is_whole=whole is not None)


def _plan_lines(plan: _Plan, conversation: Conversation, replace: Replace, *, is_whole: bool) -> None:
    """Cover the lines of batches that were answered in the conversation."""
    lines = BatchLine.objects.filter(generation__message__conversation=conversation)
    for line in lines.select_related("batch"):
        request = None if line.request is None else replace_json(replace, line.request)
        plan.add(
            line,
            cells=[GAP] if is_whole else replace_json(replace, line.cells),
            prompt=replaced(line.prompt, replace, is_whole=is_whole),
            request=without_messages(request) if request is not None and is_whole else request,
            reason=replace(line.reason),
        )
        names = ("name", "template", "system_prompt", "error_message")
        texts = {name: replace(getattr(line.batch, name)) for name in names}
        plan.add(line.batch, **texts | {"name": texts["name"][:TITLE_MAX_CHARS]})


def _plan_large(plan: _Plan, generation_id: int, replace: Replace, *, is_whole: bool) -> None:
    if is_whole:
        plan.large[generation_id] = json.dumps({"role": "user", "content": GAP}, ensure_ascii=False).encode()
        return
    stored = b"".join(LargeRequest.messages_of(generation_id))
    value = json.loads(b"[" + stored + b"]")
    replaced = replace_json(replace, value)
    if replaced != value:
        plan.large[generation_id] = json.dumps(replaced, ensure_ascii=False).encode()[1:-1]


def _plan_logs(plan: _Plan, replace: Replace) -> None:
    """Cover the words of searches, in the access log and in saved views."""
    for record in AccessRecord.objects.filter(action=AccessRecord.Action.SEARCH).iterator():
        details = replace_json(replace, record.details)
        if details != record.details:
            plan.add(record, details=details, is_redacted=True)
    for view in SavedView.objects.all():
        plan.add(view, name=replace(view.name), query=view.replaced_query(replace))


def _plan_history(plan: _Plan, conversation: Conversation, replace: Replace) -> None:
    """Cover the titles in the history of the admin."""
    kind = ContentType.objects.get_for_model(Conversation)
    for entry in LogEntry.objects.filter(content_type=kind, object_id=str(conversation.pk)):
        plan.add(
            entry,
            object_repr=replace(entry.object_repr)[:TITLE_MAX_CHARS],
            change_message=replace(entry.change_message),
        )


def _store(
    conversation: Conversation,
    plan: _Plan,
    message: Message | None,
    author: AbstractUser,
    reason: str,
    newest: int,
) -> Redaction:
    """Write the plan of a conversation in the caller's transaction. Raises as `_check_is_idle`."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    _check_is_idle(conversation, newest)
    return Redaction.objects.create(
        conversation=conversation,
        message=message,
        author_id=author.pk,
        author_name=author.get_username(),
        reason=reason,
        messages_changed=_write(conversation, plan),
        places=len(plan.large) + sum(len(change.values) for change in plan.changes),
    )


def _write(conversation: Conversation, plan: _Plan) -> list[int]:
    """Return the ids of the messages whose text changed."""
    messages = []
    for change in plan.changes:
        type(change.row)._default_manager.filter(pk=change.row.pk).update(**change.values)
        if isinstance(change.row, Message):
            messages.append(change.row.pk)
        elif isinstance(change.row, Attachment):
            change.row.remove_files()
    # The first message holds the title, too.
    conversation.messages.filter(Q(pk__in=messages) | Q(parent=None)).reindex()
    for generation_id, data in plan.large.items():
        _store_large(generation_id, data)
    prune_all(Generation.objects.filter(message__conversation=conversation))
    TextSlice.delete_unused(conversation.messages.values_list("pk", flat=True))
    return messages


def _store_large(generation_id: int, data: bytes) -> None:
    owner = LargeRequest.objects.get(generation_id=generation_id)
    RequestSlice.objects.filter(large_request=owner).delete()
    RequestSlice.objects.bulk_create(
        RequestSlice(large_request=owner, number=number, data=part)
        for number, part in enumerate(slices_of(data))
    )
