"""Messages: one tree per conversation. Edits and new answers are siblings, shown as versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import search
from chat.errors import RequestRefused
from chat.models import rows
from chat.models.limits import not_found
from chat.models.long_text import LongTextField

if TYPE_CHECKING:
    from chat.models.generation import Generation

# The longest branch that is read for a prompt.
BRANCH_MAX_MESSAGES = 10_000
# A Conversation, or None; `conversation.py` imports this module.
type AnyConversation = Any
# Newest messages of a conversation up to one of them.
SLICE = "conversation_id = %s AND id <= %s ORDER BY id DESC LIMIT %s"


class MessageQuerySet(models.QuerySet["Message"]):
    """Messages. `newest_end` needs those of one conversation."""

    def reindex(self) -> None:
        """Bring the search index up to date after a change that went past `save`, such as a redaction."""
        fields = ("text", "parent", "conversation__user_id", "conversation__title", "conversation__is_hidden")
        rows = self.order_by("pk").select_related("conversation").only(*fields)
        search.store([message.document() for message in rows if message.text])
        search.remove([message.pk for message in rows if not message.text])

    def newest_end(self, message_id: int, *, limit: int | None = None) -> int:
        """Return the id of the newest leaf below a message, or of the message itself.

        `limit`: go down no more than this many messages.
        """
        newer = self.filter(pk__gt=message_id).order_by("pk")
        newest_child = dict(newer.values_list("parent_id", "pk"))
        while message_id in newest_child and limit != 0:
            message_id = newest_child[message_id]
            limit = None if limit is None else limit - 1
        return message_id


class Message(models.Model):
    """A message of a user or of a model."""

    class Role(models.TextChoices):
        USER = "user", gettext_lazy("user")
        ASSISTANT = "assistant", gettext_lazy("model")

    conversation = models.ForeignKey("chat.Conversation", models.CASCADE, related_name="messages")
    # A conversation is deleted as a whole. A cascade would collect its messages one by one, each by a
    # recursive call for its parent.
    parent = models.ForeignKey("self", models.DO_NOTHING, null=True, blank=True, related_name="children")
    role = models.CharField(gettext_lazy("role"), max_length=10, choices=Role)
    text = LongTextField(gettext_lazy("text"), blank=True)
    thinking = LongTextField(gettext_lazy("thinking"), blank=True)
    # The tool calls of an answer to a program, each {"id", "name", "arguments"}; null: none.
    tool_calls = models.JSONField(gettext_lazy("tool calls"), null=True, blank=True)
    # Whether the text is a refusal that the model sent in a field of its own.
    is_refusal = models.BooleanField(gettext_lazy("refusal"), default=False, db_default=False)
    # The choices of an answer to a request with `n` above 1 or `logprobs`, each an `events.WholeChoice`;
    # null: there is just this one.
    choices = models.JSONField(gettext_lazy("choices"), null=True, blank=True)
    # The estimated tokens of its attachments; 0: it has none, and nothing needs to look for them.
    attachment_tokens = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # Rendered and sanitised once, when the text is final.
    html = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        # The first also serves queries for siblings, the second those for a branch.
        indexes = [
            models.Index(fields=["conversation", "parent"]),
            models.Index(fields=["conversation", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the message, and its text in the search index."""
        super().save(*args, **kwargs)
        changed = kwargs.get("update_fields")
        if self.text and (changed is None or "text" in changed):
            search.store([self.document()])

    def insert(self) -> Message:
        """Store a new message, and its text in the search index, faster than `save`."""
        rows.insert(self)
        if self.text:
            search.store([self.document()])
        return self

    @property
    def further_choices(self) -> list[dict[str, Any]]:
        """The choices beside the first one, which is the text; without their log probabilities."""
        further = (choice for choice in self.choices or () if choice["index"])
        return [{key: value for key, value in choice.items() if key != "logprobs"} for choice in further]

    def says(self, text: str, attachments: Sequence[UUID]) -> bool:
        """Return whether it has this text and these attachments. No query if there are none."""
        if self.text != text or bool(attachments) != bool(self.attachment_tokens):
            return False
        if not attachments:
            return True
        return set(self.attachment_uses.values_list("attachment_id", flat=True)) == set(attachments)

    def document(self) -> search.Document:
        """Return what the search index holds of this message."""
        conversation = self.conversation
        return search.Document(
            message_id=self.pk,
            user_id=conversation.user_id,
            is_hidden=conversation.is_hidden,
            text=self.text,
            title=conversation.title if self.parent_id is None else "",
        )

    @classmethod
    def get_for(cls, user: AbstractUser, message_id: int) -> Message:
        """Return a message of one of the user's conversations. Raises RequestRefused `not_found`."""
        found = rows.get(cls, id=message_id)
        if found is None:
            raise not_found()
        conversation = cls._conversation(found.conversation_id)
        if conversation is None or conversation.user_id != user.pk or conversation.deleted_at is not None:
            raise not_found()
        found.conversation = conversation
        return found

    @classmethod
    def _conversation(cls, key: UUID) -> AnyConversation:
        return rows.get(cls.conversation.field.related_model, id=key)

    @classmethod
    def branch(
        cls, conversation: AnyConversation, end_id: int | None, *, limit: int, max_chars: int | None = None
    ) -> list[Message]:
        """Return up to `limit` messages of the path from the root to the message `end_id`, oldest first.

        `max_chars`: limit of their total text; the last message is always included. A parent is always older
        than its child, so the path is read in slices of descending ids.
        """
        found: list[Message] = []
        chars = 0
        key = rows.prepared(cls, "conversation_id", conversation.pk)
        while end_id is not None and end_id <= rows.NUMBER_MAX and len(found) < limit:
            first_of_slice = end_id
            for message in rows.select(cls, SLICE, [key, end_id, min(limit, 100) + 20]):
                if message.pk != end_id or len(found) == limit:
                    continue
                message.conversation = conversation
                chars += len(message.text)
                if max_chars is not None and found and chars > max_chars:
                    return found[::-1]
                found.append(message)
                end_id = message.parent_id
            if end_id == first_of_slice:  # its row was deleted
                break
        return found[::-1]

    @classmethod
    def recent(
        cls, conversation: AnyConversation, end_id: int | None, *, max_chars: int
    ) -> tuple[list[Message], int]:
        """Return the end of a path, and the number of messages before it."""
        found = cls.branch(conversation, end_id, limit=BRANCH_MAX_MESSAGES, max_chars=max_chars)
        if not found or found[0].parent_id is None:
            return found, 0
        older = cls.objects.filter(conversation=conversation, pk__lt=found[0].pk)
        parents = dict(older.values_list("pk", "parent_id"))
        unread, above = 0, found[0].parent_id
        while above is not None and above in parents:
            unread, above = unread + 1, parents[above]
        return found, unread

    @classmethod
    def followed(cls, conversation: AnyConversation, message_id: int) -> Message:
        """Return the message of a conversation that a new one follows.

        Raises RequestRefused: `not_found`, `bad_parent`, `busy`.
        """
        found = rows.get(cls, id=message_id, conversation_id=conversation.pk)
        if found is None:
            raise not_found()
        found.conversation = conversation
        found.check_can_be_followed()
        return found

    def check_can_be_followed(self) -> None:
        """Check that a user's message can follow this one. Raises RequestRefused: `bad_parent`, `busy`."""
        # An imported conversation can end with a question.
        if self.role != Message.Role.ASSISTANT and self.children.exists():
            raise RequestRefused("bad_parent", _("A message must follow an answer. Reload the page."))
        running = rows.get(self.generations.model, message_id=self.pk, finished_at=None)
        if running is not None:
            text = _("The previous answer is still running. Wait for it to finish, or stop it.")
            if running.is_at_provider:
                text = _("The previous answer comes later. Wait for it, cancel it, or begin another chat.")
            raise RequestRefused("busy", text)

    def generation_to_continue(self) -> Generation:
        """Return the generation that ended this answer early. Raises RequestRefused: `bad_parent`, `busy`."""
        last = self.generations.order_by("-id").first()
        if last is None:
            raise RequestRefused("bad_parent", _("Only an answer can be continued."))
        if last.is_active:
            raise RequestRefused("busy", _("This answer is still being written."))
        if not self.text.strip():
            text = _("This answer has no text to continue. Use “Regenerate” to get a new one.")
            raise RequestRefused("bad_parent", text)
        if not last.can_resume:
            raise RequestRefused("bad_parent", _("This answer is complete and cannot be continued."))
        return last

    @staticmethod
    def siblings(messages: Iterable[Message]) -> dict[int, list[int]]:
        """Map each message id to the ids of all its versions, itself included, oldest first. One query."""
        messages = list(messages)
        if not messages:
            return {}
        conversation = rows.prepared(Message, "conversation_id", messages[0].conversation_id)
        parents = {message.parent_id for message in messages}
        known = list(parents - {None})
        conditions = [f"parent_id IN {rows.one_of(known)}"] * bool(known)
        conditions += ["parent_id IS NULL"] * (None in parents)
        condition = f"conversation_id = %s AND ({' OR '.join(conditions)}) ORDER BY id"
        by_parent: dict[int | None, list[int]] = {}
        for pk, parent_id in rows.pairs(Message, ("id", "parent_id"), condition, [conversation, *known]):
            by_parent.setdefault(parent_id, []).append(pk)
        return {message.pk: by_parent[message.parent_id] for message in messages}
