"""Conversations and their messages, which form a tree: an edit or a new answer is a sibling.

The verbs that change a conversation are sync and make one transaction each.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.errors import RequestRefused
from chat.models.catalog import Model
from chat.models.generation import ApiRequest, Generation, StartedGeneration
from chat.models.large_request import LargeRequest, StoredMessages
from chat.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chat.models.api_key import ApiKey
    from chat.models.webhook import WebhookEndpoint

TITLE_MAX_CHARS = 80
CLIENT_ID_MAX_CHARS = 64
SYSTEM_PROMPT_MAX_CHARS = 20_000
TEMPERATURE_MAX = 2


def uuid7() -> uuid.UUID:
    """Return a time-ordered UUID (RFC 9562, version 7); Python has its own from 3.14 on."""
    bits = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=bits)


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def of(self, user: AbstractUser) -> ConversationQuerySet:
        """Return what `user` may see: their own, less the deleted."""
        return self.filter(user_id=user.pk, deleted_at=None)

    def listed(self) -> ConversationQuerySet:
        """Return those that a person's pages show."""
        return self.filter(is_listed=True)

    def search(self, query: str) -> ConversationQuerySet:
        """Return those whose title or text holds every word of `query`."""
        found = self
        for word in clean(query).split()[:8]:
            found = found.filter(
                Q(title__icontains=word)
                | Q(pk__in=Message.objects.filter(text__icontains=word).values("conversation_id"))
            )
        return found


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations")
    title = models.CharField(gettext_lazy("title"), max_length=200, blank=True)
    model = models.ForeignKey(Model, models.SET_NULL, null=True, blank=True, related_name="+")
    system_prompt = models.TextField(
        gettext_lazy("system prompt"), blank=True, max_length=SYSTEM_PROMPT_MAX_CHARS
    )
    temperature = models.FloatField(
        gettext_lazy("temperature"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(TEMPERATURE_MAX)],
    )
    # The end of the branch that is shown.
    leaf = models.ForeignKey("chat.Message", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)
    updated_at = models.DateTimeField(gettext_lazy("last message"), default=timezone.now)
    # The newest finished answer the owner has looked at; the sidebar marks later ones.
    seen_at = models.DateTimeField(default=timezone.now)
    # Those of programs, one for each request, are for reviewers alone.
    is_listed = models.BooleanField(gettext_lazy("listed"), default=True, db_default=True, editable=False)
    deleted_at = models.DateTimeField(gettext_lazy("deleted"), null=True, blank=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["user", "deleted_at", "-updated_at"])]

    def __str__(self) -> str:
        return self.title or gettext_lazy("New conversation").__str__()

    # -- asking -----------------------------------------------------------------------------------

    @classmethod
    @transaction.atomic
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
        source: str = Generation.Source.WEBSOCKET,
    ) -> StartedGeneration:
        """Store a person's message, an empty answer and a queued generation, all or nothing.

        `conversation_id` None starts a conversation. The message goes after the end of the shown
        branch, or, with `is_at_leaf` False, after the message `parent_id` (None: as a first message),
        which is how an edit becomes a sibling. `system_prompt` and `temperature` are for a conversation
        that begins; one that exists keeps its own.

        The same `client_id` again returns what it made the first time. Raises RequestRefused: `not_found`,
        `empty`, `too_long`, `conflict`, `busy`, `too_many_running`, `too_many_asks`, `no_model`,
        `bad_parent`, `bad_client_id`, `bad_settings`.
        """
        text = clean(text)
        _check_client_id(client_id)
        if not text.strip():
            raise RequestRefused("empty", _("Write something first."))
        if len(text) > settings.MESSAGE_MAX_CHARS:
            raise RequestRefused(
                "too_long",
                _("This message has %(length)s characters; the limit is %(limit)s. Shorten it or split it.")
                % {"length": len(text), "limit": settings.MESSAGE_MAX_CHARS},
            )
        earlier = Generation.objects.made_by(user, client_id)
        if earlier is not None:
            asked = earlier.message.parent
            if asked is None or asked.text != text:
                raise _conflict()
            return earlier.as_started(is_repeat=True)
        if conversation_id is None:
            conversation = None
        else:
            conversation = cls.get_for(user, conversation_id)
        parent = conversation._parent(parent_id, is_at_leaf) if conversation else None
        if conversation is None and parent_id is not None:
            raise RequestRefused("bad_parent", _("A new conversation has no earlier message to answer."))
        _check_limits(user)
        model = _model(model_id, conversation)
        if conversation is None:
            conversation = cls.objects.create(
                user_id=user.pk,
                title=title_from(text),
                model=model,
                system_prompt=_system_prompt(system_prompt),
                temperature=_temperature(temperature),
            )
        asked = conversation.messages.create(role=Message.Role.USER, text=text, parent=parent)
        return conversation._start(user, asked, model, client_id=client_id, source=source)

    @classmethod
    @transaction.atomic
    def regenerate(
        cls,
        user: AbstractUser,
        user_message_id: int,
        *,
        client_id: str,
        model_id: int | None = None,
        source: str = Generation.Source.WEBSOCKET,
    ) -> StartedGeneration:
        """Answer a person's message once more; the earlier answers stay as siblings. Raises as `ask`."""
        _check_client_id(client_id)
        earlier = Generation.objects.made_by(user, client_id)
        if earlier is not None:
            if earlier.message.parent_id != user_message_id:
                raise _conflict()
            return earlier.as_started(is_repeat=True)
        asked = Message.get_for(user, user_message_id)
        if asked.role != Message.Role.USER:
            raise RequestRefused("bad_parent", _("Only an answer to a message can be made anew."))
        _check_limits(user)
        conversation = asked.conversation
        return conversation._start(
            user, asked, _model(model_id, conversation), client_id=client_id, source=source
        )

    @classmethod
    @transaction.atomic
    def resume(
        cls,
        user: AbstractUser,
        message_id: int,
        *,
        client_id: str,
        source: str = Generation.Source.WEBSOCKET,
    ) -> StartedGeneration:
        """Write on at an answer that ended early, from where its text ends. Raises as `ask`."""
        _check_client_id(client_id)
        earlier = Generation.objects.made_by(user, client_id)
        if earlier is not None:
            if earlier.message_id != message_id:
                raise _conflict()
            return earlier.as_started(is_repeat=True)
        message = Message.get_for(user, message_id)
        last = message.generations.order_by("-id").first()
        if last is None or not last.can_resume:
            raise RequestRefused("bad_parent", _("This answer is complete; there is nothing to continue."))
        _check_limits(user)
        conversation = message.conversation
        generation = message.generations.create(
            user_id=user.pk,
            client_id=client_id,
            source=source,
            model=last.model or _model(None, conversation),
            model_name=last.model_name,
            prefix=message.text,
        )
        conversation._touch(message)
        return generation.as_started()

    @classmethod
    @transaction.atomic
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
        """Store what a program asks, as a conversation of its own that no page lists, and a generation.

        `api_key`: whose limits hold. `webhook_endpoint`: notified at its end. `request` is
        cleaned already. `messages`: where those of a large request are stored. The same `client_id` again
        returns what it made the first time. Raises RequestRefused: `conflict` if that was something else,
        `bad_client_id`, `too_many_running`, `too_many_asks`.
        """
        _check_client_id(client_id)
        stored = msgspec.to_builtins(request)
        earlier = Generation.objects.made_by(user, client_id)
        if earlier is not None:
            if (earlier.request, earlier.model_id) != (stored, model.pk):
                raise _conflict()
            return earlier.as_started(is_repeat=True)
        if api_key is not None:
            api_key.check_limits()
        text = request.text if messages is None else messages.text
        conversation = cls.objects.create(
            user_id=user.pk, title=title_from(text), model=model, is_listed=False
        )
        asked = conversation.messages.create(role=Message.Role.USER, text=text)
        accepted = conversation._start(
            user, asked, model, client_id=client_id, source=source, request=stored, api_key=api_key
        )
        if messages is not None:
            LargeRequest.assign(messages.large_request_id, accepted.generation_id)
        if webhook_endpoint is not None:
            webhook_endpoint.webhooks.create(generation_id=accepted.generation_id)
        return accepted

    def _parent(self, parent_id: int | None, is_at_leaf: bool) -> Message | None:
        if is_at_leaf:
            parent = self.leaf
        elif parent_id is None:
            return None
        else:
            parent = self.messages.filter(pk=parent_id).first()
            if parent is None:
                raise not_found()
        if parent is None:
            return None
        if parent.role != Message.Role.ASSISTANT:
            raise RequestRefused(
                "bad_parent", _("A message follows an answer, not another message. Reload the page.")
            )
        if parent.generations.active().exists():
            raise RequestRefused(
                "busy", _("The answer before is still being written. Wait for it or stop it.")
            )
        return parent

    def _start(
        self,
        user: AbstractUser,
        asked: Message,
        model: Model,
        *,
        client_id: str,
        source: str,
        request: dict[str, Any] | None = None,
        api_key: ApiKey | None = None,
    ) -> StartedGeneration:
        answer = self.messages.create(role=Message.Role.ASSISTANT, parent=asked)
        generation = answer.generations.create(
            user_id=user.pk,
            client_id=client_id,
            source=source,
            model=model,
            model_name=model.name,
            request=request,
            api_key=api_key,
        )
        self._touch(answer)
        return generation.as_started()

    def _touch(self, leaf: Message) -> None:
        self.leaf = leaf
        self.updated_at = timezone.now()
        self.save(update_fields=["leaf", "updated_at"])

    # -- reading ----------------------------------------------------------------------------------

    @classmethod
    def get_for(cls, user: AbstractUser, conversation_id: uuid.UUID | str) -> Conversation:
        """Return the person's conversation; someone else's and a missing one are both RequestRefused `not_found`."""
        try:
            found = cls.objects.of(user).filter(pk=conversation_id).first()
        except (ValidationError, ValueError) as exc:  # not a UUID at all
            raise not_found() from exc
        if found is None:
            raise not_found()
        return found

    @classmethod
    def get_deleted_for(cls, user: AbstractUser, conversation_id: uuid.UUID | str) -> Conversation:
        """Return the person's conversation, deleted or not, to restore it. Raises as `get_for`."""
        found = cls.objects.filter(user_id=user.pk, pk=conversation_id).first()
        if found is None:
            raise not_found()
        return found

    def mark_seen(self) -> None:
        """Note that its owner looks at it now, which takes the mark of news off the sidebar."""
        now = timezone.now()
        news = Generation.objects.filter(message=self.leaf_id, finished_at__gt=self.seen_at)
        if self.leaf_id is not None and news.exists():
            Conversation.objects.filter(pk=self.pk).update(seen_at=now)
            self.seen_at = now

    def path(self, *, limit: int, before: int | None = None) -> list[Message]:
        """Return up to `limit` messages of the shown branch, oldest first.

        They end at the leaf, or at the parent of the message with id `before`. A parent is always
        older than its child, so the branch is found in slices of falling ids.
        """
        if before is None:
            wanted = self.leaf_id
        else:
            wanted = self.messages.filter(pk=before).values_list("parent_id", flat=True).first()
        return self.branch(wanted, limit=limit)

    def branch(self, end_id: int | None, *, limit: int, max_chars: int | None = None) -> list[Message]:
        """Return up to `limit` messages of the path from the root to the message `end_id`, oldest first.

        `max_chars`: stop before the text of all of them is longer than this; the last is always there.
        """
        found: list[Message] = []
        chars = 0
        while end_id is not None and len(found) < limit:
            at_start = end_id
            for message in self.messages.filter(pk__lte=end_id).order_by("-pk")[: min(limit, 100) + 20]:
                if message.pk != end_id or len(found) == limit:
                    continue
                chars += len(message.text)
                if max_chars is not None and found and chars > max_chars:
                    return found[::-1]
                found.append(message)
                end_id = message.parent_id
            if end_id == at_start:  # its row is gone
                break
        return found[::-1]

    def recent(self, end_id: int | None, *, max_chars: int) -> tuple[list[Message], int]:
        """Return the end of a path, and how many messages lie before it."""
        found = self.branch(end_id, limit=10_000, max_chars=max_chars)
        if not found or found[0].parent_id is None:
            return found, 0
        parents = dict(self.messages.filter(pk__lt=found[0].pk).values_list("pk", "parent_id"))
        earlier, above = 0, found[0].parent_id
        while above is not None and above in parents:
            earlier, above = earlier + 1, parents[above]
        return found, earlier

    def select(self, message: Message) -> None:
        """Show the branch of `message`, down to its newest end."""
        newer = self.messages.filter(pk__gt=message.pk).order_by("pk")
        newest_child = dict(newer.values_list("parent_id", "pk"))
        end = message.pk
        while end in newest_child:
            end = newest_child[end]
        self.leaf_id = end
        self.save(update_fields=["leaf"])

    # -- putting away -----------------------------------------------------------------------------

    @transaction.atomic
    def delete_softly(self) -> list[int]:
        """Hide it from its owner until it is erased; return the ids of generations to stop."""
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


class Message(models.Model):
    class Role(models.TextChoices):
        USER = "user", gettext_lazy("person")
        ASSISTANT = "assistant", gettext_lazy("model")

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    role = models.CharField(gettext_lazy("role"), max_length=10, choices=Role)
    text = models.TextField(gettext_lazy("text"), blank=True)
    thinking = models.TextField(gettext_lazy("thinking"), blank=True)
    # Rendered and sanitised once, when the text was final.
    html = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)

    class Meta:
        ordering = ["pk"]
        # Also finds a message's siblings; the branch is read by (conversation, id).
        indexes = [
            models.Index(fields=["conversation", "parent"]),
            models.Index(fields=["conversation", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"

    @classmethod
    def get_for(cls, user: AbstractUser, message_id: int) -> Message:
        """Return a message of the person's own conversations, or raise RequestRefused `not_found`."""
        try:
            found = (
                cls.objects.select_related("conversation")
                .filter(pk=message_id, conversation__user_id=user.pk, conversation__deleted_at=None)
                .first()
            )
        except OverflowError as exc:  # larger than any id
            raise not_found() from exc
        if found is None:
            raise not_found()
        return found

    @staticmethod
    def siblings(messages: Iterable[Message]) -> dict[int, list[int]]:
        """Return, by message id, the ids of its versions (itself among them), oldest first: one query."""
        messages = list(messages)
        if not messages:
            return {}
        conversation_id = messages[0].conversation_id
        parents = {message.parent_id for message in messages}
        same_parent: dict[int | None, list[int]] = {}
        rows = Message.objects.filter(conversation_id=conversation_id)
        rows = rows.filter(Q(parent_id__in=parents - {None}) | (Q(parent=None) if None in parents else Q()))
        if parents == {None}:
            rows = Message.objects.filter(conversation_id=conversation_id, parent=None)
        for pk, parent_id in rows.order_by("pk").values_list("pk", "parent_id"):
            same_parent.setdefault(parent_id, []).append(pk)
        return {message.pk: same_parent[message.parent_id] for message in messages}


def title_from(text: str) -> str:
    """Return a title from a first message: its first line, cut at a word."""
    first = next(iter(text.strip().splitlines()), "")
    line = " ".join(first.split()).lstrip("#>*-` ") or _("New conversation")
    if len(line) <= TITLE_MAX_CHARS:
        return line
    cut = line[: TITLE_MAX_CHARS - 1]
    head, space, _tail = cut.rpartition(" ")
    return (head if space and len(head) > TITLE_MAX_CHARS // 2 else cut) + "…"


def not_found() -> RequestRefused:
    return RequestRefused("not_found", _("There is no such conversation."))


def _conflict() -> RequestRefused:
    return RequestRefused(
        "conflict", _("This id was used for another message. Reload the page and send it again.")
    )


def _check_client_id(client_id: str) -> None:
    if (
        not client_id
        or len(client_id) > CLIENT_ID_MAX_CHARS
        or not client_id.isascii()
        or not client_id.isprintable()
    ):
        raise RequestRefused("bad_client_id", _("client_id is 1 to 64 printable ASCII characters."))


def _system_prompt(text: str) -> str:
    text = clean(text).replace("\r\n", "\n").strip()
    if len(text) > SYSTEM_PROMPT_MAX_CHARS:
        raise RequestRefused(
            "bad_settings",
            _("This system prompt has %(length)s characters; the limit is %(limit)s.")
            % {"length": len(text), "limit": SYSTEM_PROMPT_MAX_CHARS},
        )
    return text


def _temperature(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= TEMPERATURE_MAX:
        raise RequestRefused("bad_settings", _("The temperature is a number from 0 to 2, or empty."))
    return value


def _check_limits(user: AbstractUser) -> None:
    mine = Generation.objects.filter(user_id=user.pk, request__isnull=True)
    if mine.active().count() >= settings.RUNNING_PER_USER:
        raise RequestRefused(
            "too_many_running",
            _(
                "%(limit)s answers are being written for you already, the most for one person. "
                "Wait for one or stop one."
            )
            % {"limit": settings.RUNNING_PER_USER},
        )
    window = timezone.now() - timedelta(minutes=1)
    recent = mine.filter(created_at__gt=window).order_by("created_at")
    times = list(recent.values_list("created_at", flat=True)[: settings.ASKS_PER_MINUTE])
    if len(times) >= settings.ASKS_PER_MINUTE:
        wait_s = max(1.0, (times[0] - window).total_seconds())
        raise RequestRefused(
            "too_many_asks",
            _("That is more than the %(limit)s messages a minute for one person. Try again in %(wait)s s.")
            % {"limit": settings.ASKS_PER_MINUTE, "wait": round(wait_s)},
            retry_after_s=wait_s,
        )


def _model(model_id: int | None, conversation: Conversation | None) -> Model:
    """Return the model asked for, else the conversation's, else the default."""
    offered = Model.objects.offered()
    if model_id is not None:
        model = offered.filter(pk=model_id).first()
        if model is None:
            raise RequestRefused("no_model", _("This model is not available any more. Choose another one."))
        if conversation is not None and conversation.model_id != model.pk:
            conversation.model = model
            conversation.save(update_fields=["model"])
        return model
    if conversation is not None and conversation.model_id is not None:
        model = offered.filter(pk=conversation.model_id).first()
        if model is not None:
            return model
    model = offered.first()
    if model is None:
        raise RequestRefused(
            "no_model",
            _("No model is set up. Staff can add one in the admin, or set OPENAI_API_KEY and restart."),
        )
    return model
