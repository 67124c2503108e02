"""The rows of imported conversations and messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import search
from chat.errors import RequestRefused
from chat.models import (
    Attachment,
    Conversation,
    ConversationImport,
    Feedback,
    ImportedConversation,
    ImportedMessage,
    Message,
    Model,
    Project,
    RetentionPolicy,
    limits,
    rows,
)
from chat.models.feedback import COMMENT_MAX_CHARS
from chat.models.project import PROJECTS_MAX
from chat.models.title import title_from
from chat.transfer.formats.parsed import ParsedConversation, ParsedMessage

# Of ImportedMessage, which is stored for every message.
DETAILS = ("message_id", "source_id", "model_name", "files", "problem", "runs")


def retention_start(user_id: int) -> datetime | None:
    """Return since when the conversations of a user are kept; None: no policy ends them."""
    chat = RetentionPolicy.objects.filter(kind=RetentionPolicy.Kind.CHAT, is_active=True)
    groups = get_user_model().objects.get(pk=user_id).groups.values("pk")
    days = list(chat.filter(group__in=groups).values_list("days", flat=True)) or list(
        chat.filter(group=None).values_list("days", flat=True)
    )
    return timezone.now() - timedelta(days=max(days)) if days else None


def new_conversation(user_id: int, parsed: ParsedConversation, *, is_whole: bool) -> Conversation:
    """Store a conversation, without messages. Unless all of them follow now, it is invisible until then."""
    now = timezone.now()
    times = [message for message in (parsed.created, parsed.updated) if message is not None]
    created = _moment(min(times, default=None), now)
    try:
        settings = limits.checked_settings(parsed.system_prompt, parsed.temperature)
    except RequestRefused:
        settings = {}
        parsed.left_out["settings"] = 1
    conversation = Conversation(
        user_id=user_id,
        title=parsed.title,
        model=_model(parsed.model),
        created_at=created,
        updated_at=_moment(parsed.updated, created),
        seen_at=now,
        is_hidden=parsed.is_hidden,
        deleted_at=None if is_whole else now,
        project=_project(user_id, parsed.project),
        pinned_at=None if parsed.pinned is None else _moment(parsed.pinned, now),
        archived_at=None if parsed.archived is None else _moment(parsed.archived, now),
        **settings,
    )
    rows.insert(conversation)
    rows.insert(
        ImportedConversation(
            conversation=conversation,
            user_id=user_id,
            source=parsed.source,
            source_id=parsed.id,
            model_name=parsed.model,
        )
    )
    return conversation


class MessageWriter:
    """Stores messages of one conversation."""

    def __init__(
        self, imported: ConversationImport, conversation: Conversation, parsed: ParsedConversation
    ) -> None:
        self._import, self._conversation, self._parsed = imported, conversation, parsed

    def store(
        self, messages: Iterable[ParsedMessage], known: Mapping[str, int], fresh: dict[str, int]
    ) -> int:
        """Store those that are not known, parents first, and return how many; their keys go into `fresh`."""
        documents, details = [], []
        for parsed in messages:
            if parsed.id in known or parsed.id in fresh:
                continue
            parent = parsed.parent or ""
            message = self._insert(parsed, fresh.get(parent) or known.get(parent))
            fresh[parsed.id] = message.pk
            if message.text:
                documents.append(message.document())
            self._attach(message, parsed)
            details.append(_details(message, parsed))
            self._rate(message, parsed)
        search.store(documents)
        rows.insert_many(ImportedMessage, DETAILS, details, {"conversation_import_id": self._import.pk})
        return len(details)

    def _insert(self, parsed: ParsedMessage, parent_id: int | None) -> Message:
        own = parsed.own or {}
        conversation = self._conversation
        if parent_id is None and not conversation.title:
            conversation.title = title_from(parsed.text)
            rows.update(Conversation, conversation.pk, {"title": conversation.title})
        message = Message(
            conversation=conversation,
            parent_id=parent_id,
            role=parsed.role,
            text=parsed.text,
            thinking=parsed.thinking,
            html=parsed.html,
            tool_calls=own.get("tool_calls"),
            choices=own.get("choices"),
            is_refusal=bool(own.get("is_refusal")),
            created_at=_moment(parsed.created, conversation.created_at),
        )
        return rows.insert(message)

    def _attach(self, message: Message, parsed: ParsedMessage) -> None:
        """Give a message its files, which are stored already."""
        if not parsed.kept:
            return
        ids = [UUID(pk) for pk in parsed.kept]
        own = Attachment.objects.filter(user=self._import.user_id).select_for_update().defer("text")
        found = own.in_bulk(ids)
        files = [found[pk] for pk in ids if pk in found]
        Attachment.attach(message, files)
        message.attachment_tokens = Attachment.tokens_of(files)
        rows.update(Message, message.pk, {"attachment_tokens": message.attachment_tokens})

    def _rate(self, message: Message, parsed: ParsedMessage) -> None:
        """Store the opinion that the user had of an answer."""
        given: dict[str, Any] = (parsed.own or {}).get("feedback") or {}
        value = given.get("value") if given else parsed.rating
        if value not in (1, -1) or message.role != Message.Role.ASSISTANT:
            return
        reasons, comment = given.get("reasons"), given.get("comment")
        Feedback.objects.create(
            message=message,
            user_id=self._import.user_id,
            value=value,
            reasons=[each for each in reasons if each in Feedback.Reason.values]
            if isinstance(reasons, list)
            else [],
            comment=comment[:COMMENT_MAX_CHARS] if isinstance(comment, str) else "",
            created_at=_moment(given.get("created_s"), message.created_at),
            updated_at=_moment(given.get("created_s"), message.created_at),
        )


def _details(message: Message, parsed: ParsedMessage) -> tuple[Any, ...]:
    """Return the values of DETAILS."""
    runs = (parsed.own or {}).get("runs") or None
    return message.pk, parsed.id, parsed.model, parsed.files, parsed.problem, runs


def _moment(seconds: float | None, otherwise: datetime) -> datetime:
    """Return a time, or the other one for none and for the future."""
    if seconds is None:
        return otherwise
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return moment if moment <= timezone.now() else otherwise


def _model(name: str) -> Model | None:
    return Model.objects.offered().filter(name=name).first() if name else None


def _project(user_id: int, name: str) -> Project | None:
    if not name:
        return None
    own = Project.objects.filter(user_id=user_id)
    found = own.filter(name=name).first()
    if found is None and own.count() < PROJECTS_MAX:
        found = own.create(user_id=user_id, name=name)
    return found
