"""Apply a replacement of text to the values in which texts are kept: JSON, tool calls, requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import QuerySet

from chat.models.attachment import NAME_MAX_CHARS, Attachment
from chat.models.conversation import Conversation
from chat.models.conversation_import import ImportedMessage
from chat.models.large_request import SLICE_BYTES
from chat.models.message import Message
from chat.models.redaction import GAP
from chat.models.title import is_title_of, title_from

# The columns of titles.
TITLE_MAX_CHARS = 200
CHOICE_TEXTS = ("text", "thinking", "refusal")

type Replace = Callable[[str], str]


def replace_json(replace: Replace, value: Any) -> Any:
    """Return a JSON value with a function applied to each text in it, names of keys included."""
    match value:
        case str():
            return replace(value)
        case list():
            return [replace_json(replace, item) for item in value]
        case dict():
            return {replace(key): replace_json(replace, item) for key, item in value.items()}
    return value


def replaced(text: str, replace: Replace, *, is_whole: bool) -> str:
    if not is_whole:
        return replace(text)
    return GAP if text else ""


def replaced_calls(calls: Any, replace: Replace, *, is_whole: bool) -> Any:
    """Return tool calls whose arguments, a text of JSON with its own escapes, are redacted as values."""
    if not calls:
        return calls
    if is_whole:
        return [{**call, "arguments": GAP} for call in calls]
    return [
        {**replace_json(replace, call), "arguments": _replaced_arguments(call.get("arguments", ""), replace)}
        for call in calls
    ]


def replaced_choices(choices: Any, replace: Replace, *, is_whole: bool) -> Any:
    """Return the choices of an answer. Log probabilities spell the text, so any change removes them."""
    found = []
    for choice in choices or ():
        texts = (replaced(choice[name], replace, is_whole=is_whole) for name in CHOICE_TEXTS)
        calls = replaced_calls(choice["tool_calls"], replace, is_whole=is_whole)
        found.append(choice | dict(zip(CHOICE_TEXTS, texts, strict=True)) | {"tool_calls": calls})
    return choices if found == (choices or []) else [choice | {"logprobs": None} for choice in found]


def _replaced_arguments(arguments: str, replace: Replace) -> str:
    try:
        value = json.loads(arguments)
    except ValueError:
        return replace(arguments)
    replaced = replace_json(replace, value)
    return replace(arguments if replaced == value else json.dumps(replaced, ensure_ascii=False))


def without_messages(request: dict[str, Any]) -> dict[str, Any]:
    messages = [
        {"role": message.get("role", "user"), "content": GAP} for message in request.get("messages", [])
    ]
    return {**request, "messages": messages}


def replaced_import(imported: ImportedMessage, replace: Replace, *, is_whole: bool) -> dict[str, Any]:
    """Return the new values of what was said about an imported message where it came from."""
    if is_whole:
        return {"files": [], "problem": "", "runs": None}
    old = {"files": imported.files, "problem": imported.problem, "runs": imported.runs}
    values: dict[str, Any] = replace_json(replace, old)
    return values


def slices_of(data: bytes) -> Iterator[bytes]:
    """Divide the messages of a large request into the slices that are stored."""
    for start in range(0, len(data), SLICE_BYTES):
        yield data[start : start + SLICE_BYTES]


def attachments_of(conversation: Conversation) -> QuerySet[Attachment]:
    """Return the attachments of all messages of a conversation, also those that other ones have, too."""
    return Attachment.objects.filter(uses__message__conversation=conversation).distinct()


def replaced_attachment(attachment: Attachment, replace: Replace, whole: Message | None) -> dict[str, Any]:
    """Return the new values of an attachment; if one differs, its file must be removed as well.

    `whole`: a message that is removed with its files; pictures with words in them are found in no other way.
    """
    if whole is not None and attachment.uses.filter(message=whole).exists():
        return {"name": GAP, "text": "", "notes": []}
    return {
        "name": replace(attachment.name)[:NAME_MAX_CHARS],
        "text": replace(attachment.text),
        "notes": replace_json(replace, attachment.notes),
    }


def replaced_title(
    conversation: Conversation, first: Message | None, whole: Message | None, replace: Replace
) -> str:
    """Return the new title. One that was made of the first message may end within a phrase: make it again."""
    if first is not None and is_title_of(conversation.title, first.text):
        is_whole = whole is not None and first.pk == whole.pk
        return title_from(GAP if is_whole else replace(first.text))
    return replace(conversation.title)[:TITLE_MAX_CHARS]
