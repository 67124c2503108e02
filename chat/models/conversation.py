"""Conversations. Each verb that changes one is sync and runs in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.errors import RequestRefused
from chat.models import client_id as client_ids
from chat.models import limits, review, rows
from chat.models.api_key import ApiKey
from chat.models.api_request import ApiRequest
from chat.models.attachment import Attachment
from chat.models.catalog import Model
from chat.models.conversation_query import INDEXES, ConversationQueries
from chat.models.generation import Generation, StartedGeneration
from chat.models.ids import uuid7
from chat.models.large_request import LargeRequest, StoredMessages
from chat.models.message import Message
from chat.models.model_choice import choose_model
from chat.models.project import Project
from chat.models.title import title_from
from chat.models.transactions import in_transaction
from chat.models.webhook import WebhookEndpoint


class ConversationQuerySet(ConversationQueries["Conversation"]):
    pass


class Conversation(models.Model):
    """A tree of messages that belongs to one user, and the branch of it that is shown."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations")
    title = models.CharField(gettext_lazy("title"), max_length=200, blank=True)
    model = models.ForeignKey(Model, models.SET_NULL, null=True, blank=True, related_name="+")
    system_prompt = models.TextField(
        gettext_lazy("system prompt"), blank=True, max_length=limits.SYSTEM_PROMPT_MAX_CHARS
    )
    temperature = models.FloatField(
        gettext_lazy("temperature"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(limits.TEMPERATURE_MAX)],
    )
    # The last message of the shown branch.
    leaf = models.ForeignKey(Message, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)
    updated_at = models.DateTimeField(gettext_lazy("last message"), default=timezone.now)
    # When the user last opened it. The sidebar marks conversations with newer answers.
    seen_at = models.DateTimeField(default=timezone.now)
    # Each request of a program has a hidden conversation, which only reviewers see.
    is_hidden = models.BooleanField(gettext_lazy("hidden"), default=False, db_default=False, editable=False)
    deleted_at = models.DateTimeField(gettext_lazy("deleted"), null=True, blank=True)
    # The folder in the sidebar; null: none.
    project = models.ForeignKey(
        Project, models.SET_NULL, null=True, blank=True, editable=False, related_name="conversations"
    )
    # Shown above the others.
    pinned_at = models.DateTimeField(null=True, blank=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Of a temporary conversation: when it is erased. It is never listed.
    expires_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        permissions = review.PERMISSIONS
        indexes = INDEXES

    def __str__(self) -> str:
        return self.title or _("New conversation")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the conversation, and a changed title in the search index."""
        is_new = self._state.adding
        super().save(*args, **kwargs)
        changed = kwargs.get("update_fields")
        if not is_new and (changed is None or "title" in changed):
            self.messages.filter(parent=None).reindex()

    # The next four verbs check their input and then lock the user's row (`find_previous`): until they
    # commit, no other process can store the same client id or use up a limit of this user.

    @classmethod
    @in_transaction
    def ask(
        cls,
        user: AbstractUser,
        text: str,
        *,
        client_id: str,
        conversation_id: uuid.UUID | str | None = None,
        parent_id: int | None = None,
        is_at_leaf: bool = True,
        model_id: int | None = None,
        system_prompt: str = "",
        temperature: float | None = None,
        project_id: int | None = None,
        is_temporary: bool = False,
        attachments: Sequence[uuid.UUID] = (),
        source: str = Generation.Source.WEBSOCKET,
    ) -> StartedGeneration:
        """Store a user's message, an empty answer and a queued generation.

        `conversation_id` None creates a conversation. The message follows the end of the shown branch or,
        if `is_at_leaf` is False, the message `parent_id` (None: it is a first message); an edit is stored
        that way, as a sibling. The parameters from `system_prompt` to `is_temporary` are for a new one only.
        A repeat with the same `client_id` returns what the first call stored. Raises RequestRefused:
        `not_found`, `empty`, `too_long`, `conflict`, `busy`, `too_many_running`, `too_many_asks`,
        `no_model`, `bad_parent`, `bad_client_id`, `bad_settings`, and as `Attachment.find_all`.
        """
        text = limits.checked_text(text, may_be_empty=bool(attachments))
        previous = client_ids.find_previous(user, client_id)
        if previous is not None:
            asked = previous.message.parent
            return client_ids.repeat(previous, is_same=asked is not None and asked.says(text, attachments))
        conversation = None if conversation_id is None else cls.get_for(user, conversation_id)
        is_new = conversation is None
        limits.check_parent(parent_id, is_new)
        parent = conversation._parent(parent_id, is_at_leaf) if conversation else None
        limits.check_ask_limits(user)
        model = conversation._use_model(model_id) if conversation else choose_model(model_id)
        files = Attachment.find_all(user, attachments, model)
        if conversation is None:
            checked = limits.checked_settings(system_prompt, temperature)
            placed = Project.placing(user, project_id, is_temporary)
            conversation = cls._create(user, text or files[0].name, model, **placed, **checked)
        user_message = conversation._add(Message.Role.USER, parent, text, files)
        generation = conversation._start(user, user_message, model, client_id=client_id, source=source)
        return generation.as_started(parent_id=user_message.parent_id, is_new_conversation=is_new)

    @classmethod
    @in_transaction
    def regenerate(
        cls,
        user: AbstractUser,
        user_message_id: int,
        *,
        client_id: str,
        model_id: int | None = None,
        source: str = Generation.Source.WEBSOCKET,
    ) -> StartedGeneration:
        """Generate another answer to a user's message, as a sibling. Raises as `ask`."""
        previous = client_ids.find_previous(user, client_id)
        if previous is not None:
            return client_ids.repeat(previous, is_same=previous.message.parent_id == user_message_id)
        user_message = Message.get_for(user, user_message_id)
        if user_message.role != Message.Role.USER:
            raise RequestRefused("bad_parent", _("Only the answer to a message can be regenerated."))
        limits.check_ask_limits(user)
        conversation = user_message.conversation
        model = conversation._use_model(model_id)
        return conversation.add_version(user, user_message, model, client_id=client_id, source=source)

    @classmethod
    @in_transaction
    def resume(
        cls,
        user: AbstractUser,
        message_id: int,
        *,
        client_id: str,
        source: str = Generation.Source.WEBSOCKET,
    ) -> StartedGeneration:
        """Continue an answer that ended early. Raises as `ask`."""
        previous = client_ids.find_previous(user, client_id)
        if previous is not None:
            return client_ids.repeat(previous, is_same=previous.message_id == message_id)
        message = Message.get_for(user, message_id)
        last = message.generation_to_continue()
        limits.check_ask_limits(user)
        conversation = message.conversation
        generation = message.generations.create(
            user_id=user.pk,
            client_id=client_id,
            source=source,
            model=last.model or conversation._use_model(None),
            model_name=last.model_name,
            prefix=message.text,
        )
        conversation._touch(message)
        return generation.as_started()

    @classmethod
    @in_transaction
    def ask_once(
        cls,
        user: AbstractUser,
        request: ApiRequest,
        *,
        model: Model,
        client_id: str,
        source: str,
        api_key: ApiKey | None = None,
        webhook_endpoint: WebhookEndpoint | None = None,
        messages: StoredMessages | None = None,
    ) -> StartedGeneration:
        """Store a program's request as a hidden conversation of its own, and a queued generation.

        The caller has cleaned `request`; inside a transaction that would take too long. `messages`: the
        stored messages of a large request. The limits of `api_key` apply, except to batches.
        `webhook_endpoint` is notified at the end. A repeat with the same `client_id` returns what the first
        call stored. Raises RequestRefused: `conflict` if that was a different request, `bad_client_id`,
        `too_many_running`, `too_many_asks`.
        """
        stored = msgspec.to_builtins(request)
        previous = client_ids.find_previous(user, client_id)
        if previous is not None:
            is_same = (previous.request, previous.model_id) == (stored, model.pk)
            return client_ids.repeat(previous, is_same=is_same)
        if api_key is not None and source != Generation.Source.BATCH:
            api_key.check_limits()
        text = request.text if messages is None else messages.text
        conversation = cls._create(user, text, model, is_hidden=True)
        user_message = conversation._add(Message.Role.USER, None, text)
        generation = conversation._start(
            user, user_message, model, client_id=client_id, source=source, request=stored, api_key=api_key
        )
        if messages is not None:
            LargeRequest.assign(messages.large_request_id, generation.pk)
        if webhook_endpoint is not None:
            webhook_endpoint.webhooks.create(generation=generation)
        return generation.as_started(is_new_conversation=True)

    @classmethod
    def _create(cls, user: AbstractUser, text: str, model: Model, **fields: Any) -> Conversation:
        """Return a new conversation. It is stored together with the end of its branch (`_touch`)."""
        return cls(user_id=user.pk, title=title_from(text), model=model, **fields)

    def _add(
        self, role: Message.Role, parent: Message | None, text: str = "", files: Sequence[Attachment] = ()
    ) -> Message:
        tokens = Attachment.tokens_of(files)
        message = Message(conversation=self, role=role, parent=parent, text=text, attachment_tokens=tokens)
        Attachment.attach(message.insert(), files)
        return message

    def _parent(self, parent_id: int | None, is_at_leaf: bool) -> Message | None:
        """Return the message that a new one follows. Raises RequestRefused: see `Message.followed`."""
        wanted = self.leaf_id if is_at_leaf else parent_id
        return None if wanted is None else Message.followed(self, wanted)

    def _use_model(self, model_id: int | None) -> Model:
        """Return the model to call, and store one that was chosen. Raises RequestRefused `no_model`."""
        model = choose_model(model_id, self.model_id)
        if model_id is not None and self.model_id != model.pk:
            self.model = model
            self.save(update_fields=["model"])
        return model

    def add_version(self, user: AbstractUser, asked: Message, model: Model, **how: Any) -> StartedGeneration:
        """Store an empty answer and a queued generation beside those that `asked` has."""
        return self._start(user, asked, model, **how).as_started()

    def _start(
        self,
        user: AbstractUser,
        user_message: Message,
        model: Model,
        *,
        client_id: str,
        source: str,
        request: dict[str, Any] | None = None,
        api_key: ApiKey | None = None,
    ) -> Generation:
        answer = self._add(Message.Role.ASSISTANT, user_message)
        generation = Generation(
            message=answer,
            user_id=user.pk,
            client_id=client_id,
            source=source,
            model=model,
            model_name=model.name,
            request=request,
            api_key=api_key,
        )
        rows.insert(generation)
        self._touch(answer)
        return generation

    def _touch(self, leaf: Message) -> None:
        self.leaf = leaf
        self.updated_at = timezone.now()
        if self._state.adding:
            rows.insert(self)
        else:
            rows.update(Conversation, self.pk, {"leaf_id": leaf.pk, "updated_at": self.updated_at})

    @classmethod
    def get_for(
        cls, user: AbstractUser, conversation_id: uuid.UUID | str, *, or_deleted: bool = False
    ) -> Conversation:
        """Return a conversation of the user. Raises RequestRefused `not_found`, also for another user's."""
        try:
            found = rows.get(cls, id=conversation_id, user_id=user.pk)
        except (ValidationError, ValueError) as exc:  # not a UUID
            raise limits.not_found() from exc
        if found is None or (found.deleted_at is not None and not or_deleted):
            raise limits.not_found()
        return found

    def mark_seen(self) -> None:
        """Store that the user has seen all of it, which removes its mark in the sidebar."""
        self.seen_at = timezone.now()
        rows.update(Conversation, self.pk, {"seen_at": self.seen_at})

    def path(self, *, limit: int, before: int | None = None) -> list[Message]:
        """Return up to `limit` messages of the shown branch, oldest first.

        The last one is the leaf, or the parent of the message with id `before`.
        """
        if before is None:
            end_id = self.leaf_id
        else:
            end_id = self.messages.filter(pk=before).values_list("parent_id", flat=True).first()
        return Message.branch(self, end_id, limit=limit)

    def select(self, message: Message) -> None:
        """Show the branch of `message`, down to its newest leaf."""
        self.leaf_id = self.messages.newest_end(message.pk)
        self.save(update_fields=["leaf"])

    @transaction.atomic
    def delete_softly(self) -> list[int]:
        """Hide it from the user until it is erased. Return the ids of generations to stop."""
        now = timezone.now()
        self.deleted_at = now
        self.save(update_fields=["deleted_at"])
        active = Generation.objects.active().filter(message__conversation=self)
        ids = list(active.values_list("pk", flat=True))
        active.update(stop_requested_at=now)
        return ids

    def restore(self) -> None:
        self.deleted_at = None
        self.save(update_fields=["deleted_at"])
