"""One conversation as a file: JSON with everything, or its shown branch as Markdown or as one HTML page.

docs/export.md describes the JSON.
"""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from chat.event_log.read import replay
from chat.models import Attachment, Conversation, Generation, ImportedConversation, Message
from chat.models.stored_content import StoredContent
from chat.transfer.formats.own import FORMAT, VERSION
from chat.transfer.records import Records, imported_messages, run_fields

logger = logging.getLogger(__name__)

NAME_MAX_CHARS = 60
# Of the pictures in one page: what a browser still opens at once.
PICTURES_MAX_BYTES = 20 * 1024 * 1024
_NOT_IN_NAMES = re.compile(r"[^\w-]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """A message of the shown branch. `note` says why an answer is not complete; else it is empty."""

    message: Message
    model_name: str
    note: str
    # The names of its files, and its pictures as data URLs, if they are wanted.
    files: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()

    @property
    def author(self) -> str:
        if self.message.role == Message.Role.USER:
            return _("You")
        return self.model_name or _("Model")


class ConversationFile:
    """A conversation as read at one time, with all its messages, and the text so far of a running answer."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        # Runs before messages: the text of an answer that has just ended is complete.
        runs = Generation.objects.filter(message__conversation=conversation).order_by("message", "pk")
        self._runs = list(runs.only("pk", "prefix", *run_fields()).select_related(None))
        self._messages = list(conversation.messages.order_by("pk"))
        self._last_run = {run.message_id: run for run in self._runs}
        self._imported = {each.message_id: each for each in imported_messages(conversation)}
        for message in self._messages:
            run = self._last_run.get(message.pk)
            if run is not None and run.is_active:
                self._fill_in(message, run)

    def file_name(self, ending: str) -> str:
        """Return a name for the file that is safe on every system."""
        return f"{safe_name(self.conversation.title) or 'conversation'}.{ending}"

    def as_json(self) -> str:
        """Return everything: all branches, thinking, tool calls, and how each answer was made."""
        conversation = self.conversation
        records = Records(conversation, self._runs, self._imported)
        value = {
            "format": FORMAT,
            "version": VERSION,
            "id": str(conversation.pk),
            "title": conversation.title,
            "model": conversation.model.name if conversation.model else self._foreign_model(),
            "project": conversation.project.name if conversation.project else None,
            "system_prompt": conversation.system_prompt,
            "temperature": conversation.temperature,
            "created": conversation.created_at,
            "last_message": conversation.updated_at,
            "pinned": conversation.pinned_at,
            "archived": conversation.archived_at,
            "is_request_of_a_program": conversation.is_hidden,
            "shown_message": conversation.leaf_id,
            "messages": [_message(message) | records.about(message) for message in self._messages],
            "generations": records.runs(),
        }
        return json_text(value)

    def as_markdown(self) -> str:
        """Return the shown branch, each text as it was written."""
        parts = [f"# {_one_line(str(self.conversation))}"]
        for each in self.shown():
            parts.append(f"## {_one_line(each.author)}")
            if each.files:
                parts.append(f"*{_('Files:')} {_one_line(', '.join(each.files))}*")
            parts.append(with_closed_fence(each.message.text))
            if each.note:
                parts.append(f"*{each.note}*")
        return "\n\n".join(part for part in parts if part) + "\n"

    def as_html(self, *, with_pictures: bool = False) -> str:
        """Return the shown branch as one page that needs no other file, runs no script and can be printed.

        `with_pictures`: they are in the page, up to PICTURES_MAX_BYTES; the others are only named.
        """
        shown = self.shown(picture_bytes=PICTURES_MAX_BYTES if with_pictures else 0)
        context = {"conversation": self.conversation, "shown": shown, "style": _style()}
        return render_to_string("transfer/conversation.html", context)

    def shown(self, *, picture_bytes: int = 0) -> list[ExportedMessage]:
        """Return the messages of the shown branch, oldest first, with so much of their pictures."""
        by_id = {message.pk: message for message in self._messages}
        branch: list[Message] = []
        at = self.conversation.leaf_id
        while at in by_id:
            branch.append(by_id.pop(at))
            at = branch[-1].parent_id
        files = Attachment.by_message(branch)
        exported = [self._exported(message) for message in reversed(branch)]
        for number, each in enumerate(exported):
            if own := files.get(each.message.pk, ()):
                urls: list[str] = []
                for file in own:
                    if file.is_image and file.content is not None and file.size_bytes <= picture_bytes:
                        picture_bytes -= file.size_bytes
                        urls += _data_urls(file.media_type, file.content)
                names = tuple(file.name for file in own)
                exported[number] = replace(each, files=names, pictures=tuple(urls))
        return exported

    def _foreign_model(self) -> str | None:
        """Return the name of a model that this site does not have, of an imported conversation."""
        found = ImportedConversation.objects.filter(conversation=self.conversation)
        return found.values_list("model_name", flat=True).first() or None

    def _exported(self, message: Message) -> ExportedMessage:
        run = self._last_run.get(message.pk)
        if run is not None:
            note = _running_note() if run.is_active else _note(run.status, run.finish_reason)
            return ExportedMessage(message, run.model_name, note)
        imported = self._imported.get(message.pk)
        if imported is None or message.role == Message.Role.USER:
            return ExportedMessage(message, "", "")
        last = imported.runs[-1] if imported.runs else {}
        note = _note(last.get("status") or "completed", last.get("finish_reason") or "")
        return ExportedMessage(message, imported.model_name, _incomplete() if imported.problem else note)

    def _fill_in(self, message: Message, run: Generation) -> None:
        """Set the text of an answer in progress, as far as it is stored."""
        so_far = replay(run.pk, prefix=run.prefix)
        message.text, message.thinking, message.html = so_far.text, so_far.thinking, ""


def _data_urls(media_type: str, content: StoredContent) -> list[str]:
    try:
        return [f"data:{media_type};base64,{b64encode(content.read()).decode()}"]
    except OSError:
        logger.exception("a picture cannot be read for an export")
        return []


def safe_name(title: str) -> str:
    """Return a title as part of a file name: letters, digits, `-` and `_`; may be empty."""
    return _NOT_IN_NAMES.sub("-", title)[:NAME_MAX_CHARS].strip("-")


def json_text(value: Any) -> str:
    """Return a value as readable JSON; dates as ISO 8601 with their offset."""
    return json.dumps(value, ensure_ascii=False, indent=1, default=_plain)


def with_closed_fence(text: str) -> str:
    """Close a code block that an answer left open, so that it does not take in what follows it."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found is None:
            continue
        marks, rest = found.groups()
        if not fence:
            fence = "" if marks[0] == "`" and "`" in rest else marks
        elif marks.startswith(fence) and not rest.strip():
            fence = ""
    return f"{text}\n{fence}" if fence else text


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": message.pk,
        "parent": message.parent_id,
        "role": message.role,
        "text": message.text,
        "thinking": message.thinking,
        "tool_calls": message.tool_calls,
        "is_refusal": message.is_refusal,
        "choices": message.choices,
        "created": message.created_at,
    }


def _running_note() -> str:
    return _("This answer was still being written when it was exported.")


def _incomplete() -> str:
    return _("This answer is not complete.")


def _note(status: str, finish_reason: str) -> str:
    if status != Generation.Status.COMPLETED:
        return _incomplete()
    return _("This answer reached the length limit.") if finish_reason == "length" else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@cache
def _style() -> str:
    """Return the styles of rendered Markdown, as the pages have them."""
    found = [finders.find(f"chat/{name}.css") for name in ("tokens", "prose", "highlight")]
    return "\n".join(Path(path).read_text(encoding="utf-8") for path in found if path)
