"""The messages of a conversation as a page shows them, with their versions and answers in progress."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from django.contrib.auth.models import AbstractUser
from django.template.loader import render_to_string
from django.utils import timezone

from chat import events
from chat.event_log.read import ReplayedText, image_of, replay
from chat.models import (
    Attachment,
    Batch,
    BatchLine,
    Bookmark,
    Comparison,
    Conversation,
    Feedback,
    Generation,
    ImportedMessage,
    Message,
    Model,
    rows,
)

# A few tall screens. Older messages are loaded on demand.
PAGE_MESSAGES = 50
# The most answers that are shown side by side.
COMPARED_MAX = 4


def new_client_id() -> str:
    """Return a random id that makes sending the same form twice harmless."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message as the page shows it. `replayed` is set while it is in progress."""

    message: Message
    generation: Generation | None
    versions: list[int]
    replayed: ReplayedText | None
    feedback: Feedback | None = None
    imported: ImportedMessage | None = None
    # Of answers that are shown side by side: how many these are, and 0 for all others.
    compared: int = 0
    # Of an answer that comes later: the batch that brings it.
    batch: Batch | None = None
    attachments: Sequence[Attachment] = ()
    is_bookmarked: bool = False
    # Of a question: its day, if that is another one than the day of the message before.
    day: date | None = None

    @property
    def pictures(self) -> Sequence[events.Image]:
        """The pictures of an answer."""
        so_far = self.replayed.images if self.replayed else ()
        return [*map(image_of, self.attachments), *so_far]

    @property
    def is_user(self) -> bool:
        return self.message.role == Message.Role.USER

    @property
    def is_active(self) -> bool:
        return self.replayed is not None

    @property
    def text(self) -> str:
        return self.replayed.text if self.replayed else self.message.text

    @property
    def thinking(self) -> str:
        return self.replayed.thinking if self.replayed else self.message.thinking

    @property
    def seq(self) -> int:
        """The seq of the last event that the page already shows.

        0 before the first text: a page that follows from the start then also gets the queue position
        or the running countdown, which are not part of the text.
        """
        if self.replayed is None or self.generation is None:
            return 0
        replayed = self.replayed
        has_some = replayed.thinking or replayed.images or replayed.text != self.generation.prefix
        return replayed.seq if has_some else 0

    @property
    def is_first_compared(self) -> bool:
        return self.compared > 0 and self.message.pk == self.message.conversation.leaf_id

    @property
    def prefix_chars(self) -> int:
        """Number of characters (code points) that a restart keeps."""
        return len(self.generation.prefix) if self.generation else 0

    @property
    def version_number(self) -> int:
        return self.versions.index(self.message.pk) + 1

    @property
    def version_count(self) -> int:
        return len(self.versions)

    @property
    def previous_id(self) -> int | None:
        return self.versions[self.version_number - 2] if self.version_number > 1 else None

    @property
    def next_id(self) -> int | None:
        return self.versions[self.version_number] if self.version_number < self.version_count else None

    def note_seen(self, conversation: Conversation) -> None:
        """Store that the user has seen this answer, if it has ended and is the conversation's newest."""
        run = self.generation
        if run is None or run.finished_at is None or conversation.leaf_id != self.message.pk:
            return
        if run.finished_at > conversation.seen_at:
            conversation.mark_seen()

    @property
    def client_id(self) -> str:
        return new_client_id()

    @property
    def fingerprint(self) -> str:
        """A value that changes whenever the message looks different.

        The text of an answer in progress does not count.
        """
        run = f"{self.generation.pk}{self.generation.status}" if self.generation else "-"
        thumb = self.feedback.value if self.feedback else 0
        waits = f".{self.batch.provider_status}.{bool(self.batch.error_message)}" if self.batch else ""
        mark = ".b" * self.is_bookmarked
        return f"{run}.{self.version_number}.{self.version_count}.{thumb}.{self.compared}{waits}{mark}"

    @property
    def thought_s(self) -> float | None:
        """Seconds that the model reasoned before the first text of the answer."""
        run = self.generation
        if run is None or run.first_delta_at is None or run.started_at is None:
            return None
        return max(0.0, (run.first_delta_at - run.started_at).total_seconds())

    @property
    def model_label(self) -> str:
        """The name of the model that answered, as the menu of models has it."""
        run = self.generation
        if run is None:
            return ""
        return str(run.model) if run.model and run.model.name == run.model_name else run.model_name

    @property
    def is_switched(self) -> bool:
        """Whether the answer came from another model than the requested one."""
        run = self.generation
        return bool(run and run.model and run.model_name and run.model_name != run.model.name)


def message_views(messages: list[Message]) -> list[MessageView]:
    """Return views of `messages`, which are of one conversation.

    Six queries, one more for each answer in progress, and one each if some were imported or have files.
    """
    latest = _latest_generations([message.pk for message in messages])
    # The answer may have ended between the two queries: read its final text again.
    if messages and messages[-1].pk in latest:
        messages[-1].refresh_from_db(fields=["text", "html", "thinking"])
    return _views(messages, latest)


def message_view(user: AbstractUser, message_id: int) -> MessageView:
    """Return the view of one of the user's messages, in seven queries by key.

    Raises RequestRefused `not_found`.
    """
    # First: if the answer has ended by now, what is read next is its final text.
    latest = _latest_generation(message_id)
    view = _views([Message.get_for(user, message_id)], latest)[0]
    return next((each for each in _compared(view) if each.message.pk == message_id), view)


def read_article(user: AbstractUser, message_id: int) -> str:
    """Return the article of one message as HTML, for a script, and note that the user has seen its answer.

    Raises RequestRefused `not_found`.
    """
    view = message_view(user, message_id)
    view.note_seen(view.message.conversation)
    # A copy, because encoders of frames refuse Django's own class of strings.
    return render_to_string("chat/_message.html", {"view": view})[:]


def _views(messages: list[Message], latest: dict[int, Generation]) -> list[MessageView]:
    by_pk = {message.pk: message for message in messages}
    for message_id, generation in latest.items():
        generation.message = by_pk[message_id]
    versions = Message.siblings(messages)
    attachments = Attachment.by_message(messages)
    imported = _imported(messages, latest)
    # What was imported has no generation, and can be rated all the same.
    feedback = _feedback([*latest, *imported])
    batches = _batches(latest.values())
    bookmarked = _bookmarked(by_pk)
    return [
        MessageView(
            message,
            latest.get(message.pk),
            versions[message.pk],
            _replayed(latest.get(message.pk)),
            feedback.get(message.pk),
            imported.get(message.pk),
            batch=batches.get(message.pk),
            attachments=attachments.get(message.pk, ()),
            is_bookmarked=message.pk in bookmarked,
        )
        for message in messages
    ]


def _compared(view: MessageView) -> list[MessageView]:
    """Return the views of all answers that are compared with this one, in their order; none: an empty list.

    The conversation must not have gone on from one of them.
    """
    if view.is_user or view.version_count < 2:
        return []
    comparison = Comparison.open_at(view.message)
    if comparison is None or view.message.conversation.leaf_id not in comparison.answers:
        return []
    latest = _latest_generations(comparison.answers)
    by_pk = view.message.conversation.messages.in_bulk(comparison.answers)
    messages = [by_pk[pk] for pk in comparison.answers if pk in by_pk]
    return [replace(each, compared=len(messages)) for each in _views(messages, latest)]


def _latest_generations(message_ids: list[int]) -> dict[int, Generation]:
    found = Generation.objects.filter(message__in=message_ids).select_related("model").order_by("pk")
    return {generation.message_id: generation for generation in found}


def _latest_generation(message_id: int) -> dict[int, Generation]:
    """Return the same for one message: every answer is read so at its end, so it is read by keys."""
    found = rows.select(Generation, "message_id = %s ORDER BY id DESC LIMIT 1", [message_id])
    for generation in found:
        generation.model = None if generation.model_id is None else rows.get(Model, id=generation.model_id)
    return {generation.message_id: generation for generation in found}


def _imported(messages: Iterable[Message], latest: Mapping[int, Generation]) -> dict[int, ImportedMessage]:
    """Return what is known of messages without a generation. Every answer that was made here has one."""
    messages = [message for message in messages if message.pk not in latest]
    has_any = any(message.role == Message.Role.ASSISTANT for message in messages)
    if not has_any and latest:
        return {}
    return {each.message_id: each for each in ImportedMessage.objects.filter(message__in=messages)}


def _batches(latest: Iterable[Generation]) -> dict[int, Batch]:
    """Return the batches that bring answers later, by their messages. No query if there are none."""
    waiting = [generation for generation in latest if generation.is_at_provider]
    if not waiting:
        return {}
    lines = BatchLine.objects.filter(generation__in=waiting).select_related("batch__model", "generation")
    return {line.generation.message_id: line.batch for line in lines if line.generation}


def _feedback(answers: Iterable[int]) -> dict[int, Feedback]:
    """Return the feedback on these answers, which are all of one user."""
    ids = list(answers)
    found = rows.select(Feedback, f"message_id IN {rows.one_of(ids)}", ids) if ids else []
    return {each.message_id: each for each in found}


def _bookmarked(messages: Iterable[int]) -> set[int]:
    """Return which of these messages, all of one user, are bookmarked."""
    ids = list(messages)
    found = rows.select(Bookmark, f"message_id IN {rows.one_of(ids)}", ids) if ids else []
    return {each.message_id for each in found}


def _replayed(generation: Generation | None) -> ReplayedText | None:
    if generation is None or not generation.is_active or generation.is_at_provider:
        return None
    return replay(generation.pk, prefix=generation.prefix)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Consecutive messages of the shown branch, oldest first."""

    conversation: Conversation | None
    views: list[MessageView]
    # Whether newer messages exist that this page does not contain.
    is_earlier: bool = False

    @property
    def older_than(self) -> int | None:
        """The id of the first message, if the branch has older ones; else None."""
        first = self.views[0].message if self.views else None
        return first.pk if first and first.parent_id else None

    def note_seen(self) -> None:
        """Store that the user has seen the end of the conversation, if it is on this page."""
        if self.conversation is not None:
            for view in self.views[-COMPARED_MAX:]:
                view.note_seen(self.conversation)

    @property
    def active(self) -> MessageView | None:
        """The answer in progress at the end of the page, if any."""
        return next((view for view in self.views[-COMPARED_MAX:] if view.is_active), None)


def message_page(
    conversation: Conversation,
    *,
    before: int | None = None,
    until: int | None = None,
    limit: int | None = None,
) -> MessagePage:
    """Return the newest messages of the shown branch.

    `before`: only messages before the one with this id. `until`: those of the branch that ends with this one,
    if it exists. `limit`: PAGE_MESSAGES by default.
    """
    limit = limit or PAGE_MESSAGES
    found = [] if until is None else Message.branch(conversation, until, limit=limit)
    messages = found or conversation.path(limit=limit, before=before)
    views = message_views(messages)
    if views and views[-1].message.pk == conversation.leaf_id:
        views = [*views[:-1], *(_compared(views[-1]) or views[-1:])]
    views = [_dated(view, before) for view, before in zip(views, [None, *views], strict=False)]
    return MessagePage(conversation, views, is_earlier=bool(found) or before is not None)


def _dated(view: MessageView, before: MessageView | None) -> MessageView:
    """Return the view with its day, if it is a question of another day than the message before it."""
    if before is None or not view.is_user:
        return view
    day = timezone.localdate(view.message.created_at)
    return view if day == timezone.localdate(before.message.created_at) else replace(view, day=day)
