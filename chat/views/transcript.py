"""What a page shows of a conversation: a stretch of its branch, its versions and how each answer stands."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render

from chat.event_log import log as delta_log
from chat.models import Conversation, Generation, Message
from chat.views.access import AuthedRequest, signed_in

# As many as a tall screen shows a few times over; older ones come on demand.
PAGE_MESSAGES = 50


def new_client_id() -> str:
    """Return the id by which a form's sender makes sure that it counts once."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as the page shows it. `state` is there while its answer is being written."""

    message: Message
    generation: Generation | None
    versions: list[int]
    state: delta_log.ReplayedText | None

    @property
    def is_user(self) -> bool:
        return self.message.role == Message.Role.USER

    @property
    def is_active(self) -> bool:
        return self.state is not None

    @property
    def text(self) -> str:
        return self.state.text if self.state else self.message.text

    @property
    def thinking(self) -> str:
        return self.state.thinking if self.state else self.message.thinking

    @property
    def seq(self) -> int:
        """The event up to which the page shows this answer.

        0 while there is nothing but waiting: a page that follows from the start then learns its
        place in line or the running countdown, which are not part of the text.
        """
        if self.state is None or self.generation is None:
            return 0
        has_news = self.state.thinking or self.state.text != self.generation.prefix
        return self.state.seq if has_news else 0

    @property
    def prefix_chars(self) -> int:
        """Characters that a restart keeps, counted in code points."""
        return len(self.generation.prefix) if self.generation else 0

    @property
    def number(self) -> int:
        return self.versions.index(self.message.pk) + 1

    @property
    def count(self) -> int:
        return len(self.versions)

    @property
    def previous_id(self) -> int | None:
        return self.versions[self.number - 2] if self.number > 1 else None

    @property
    def next_id(self) -> int | None:
        return self.versions[self.number] if self.number < self.count else None

    @property
    def client_id(self) -> str:
        return new_client_id()

    @property
    def fingerprint(self) -> str:
        """Equal for as long as the message looks the same, apart from text that is followed."""
        run = f"{self.generation.pk}{self.generation.status}" if self.generation else "-"
        return f"{run}.{self.number}.{self.count}"

    @property
    def thought_s(self) -> float | None:
        """How long the model reasoned before its first word."""
        run = self.generation
        if run is None or run.first_delta_at is None or run.started_at is None:
            return None
        return max(0.0, (run.first_delta_at - run.started_at).total_seconds())

    @property
    def is_switched(self) -> bool:
        """Whether another model answered than the one that was asked."""
        run = self.generation
        return bool(run and run.model and run.model_name and run.model_name != run.model.name)


def entries_of(messages: list[Message]) -> list[Entry]:
    """Return what the page shows of `messages`, in four queries and one per answer in progress."""
    versions = Message.siblings(messages)
    latest = _latest_generations(messages)
    # Its answer may have ended between the reading of the two: the text that belongs to the end comes after.
    if messages and messages[-1].pk in latest:
        messages[-1].refresh_from_db(fields=["text", "html", "thinking"])
    return [
        Entry(message, latest.get(message.pk), versions[message.pk], _state(latest.get(message.pk)))
        for message in messages
    ]


def _latest_generations(messages: Iterable[Message]) -> dict[int, Generation]:
    by_pk = {message.pk: message for message in messages}
    latest: dict[int, Generation] = {}
    for generation in Generation.objects.filter(message__in=by_pk).select_related("model").order_by("pk"):
        generation.message = by_pk[generation.message_id]
        latest[generation.message_id] = generation
    return latest


def _state(generation: Generation | None) -> delta_log.ReplayedText | None:
    if generation is None or not generation.is_active:
        return None
    return delta_log.state(generation.pk, prefix=generation.prefix)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Messages of the shown branch that follow one another, oldest first."""

    conversation: Conversation | None
    entries: list[Entry]
    # Whether it does not reach to the end of the branch.
    is_earlier: bool = False

    @property
    def older_than(self) -> int | None:
        """The message before which there is more, if there is."""
        first = self.entries[0].message if self.entries else None
        return first.pk if first and first.parent_id else None

    @property
    def active(self) -> Entry | None:
        """The answer in progress at its end, if there is one."""
        return self.entries[-1] if self.entries and self.entries[-1].is_active else None


def stretch_of(
    conversation: Conversation, *, before: int | None = None, limit: int = PAGE_MESSAGES
) -> Stretch:
    """Return the newest messages of the shown branch, or those before the message with id `before`."""
    messages = conversation.path(limit=limit, before=before)
    return Stretch(conversation, entries_of(messages), is_earlier=before is not None)


def number_from(request: AuthedRequest, name: str) -> int | None:
    """Return a whole number from the query string; nonsense counts as absent."""
    value = request.GET.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


@signed_in("GET")
def older(request: AuthedRequest, pk: uuid.UUID) -> HttpResponse:
    """Answer with the messages before `?before=`."""
    conversation = Conversation.get_for(request.user, pk)
    stretch = stretch_of(conversation, before=number_from(request, "before"))
    return render(request, "chat/_messages.html", {"transcript": stretch})


@signed_in("GET")
def transcript(request: AuthedRequest, pk: uuid.UUID) -> HttpResponse:
    """Answer with the newest messages, at most `?limit=`, for a page that hears of changes made elsewhere."""
    conversation = Conversation.get_for(request.user, pk)
    limit = min(number_from(request, "limit") or PAGE_MESSAGES, PAGE_MESSAGES)
    return render(
        request, "chat/_messages.html", {"transcript": stretch_of(conversation, limit=max(limit, 1))}
    )
