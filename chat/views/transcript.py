"""The messages that a page shows, with their versions and answers in progress."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from chat.event_log.read import ReplayedText, replay
from chat.models import Conversation, Generation, Message
from chat.views.access import AuthenticatedRequest, signed_in

# A few tall screens. Older messages are loaded on demand.
PAGE_MESSAGES = 50
# A page that leads to an older message also shows this many of those after it.
MESSAGES_AFTER = 10


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
        has_text = self.replayed.thinking or self.replayed.text != self.generation.prefix
        return self.replayed.seq if has_text else 0

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

    @property
    def client_id(self) -> str:
        return new_client_id()

    @property
    def fingerprint(self) -> str:
        """A value that changes whenever the message looks different.

        The text of an answer in progress does not count.
        """
        run = f"{self.generation.pk}{self.generation.status}" if self.generation else "-"
        return f"{run}.{self.version_number}.{self.version_count}"

    @property
    def thought_s(self) -> float | None:
        """Seconds that the model reasoned before the first text of the answer."""
        run = self.generation
        if run is None or run.first_delta_at is None or run.started_at is None:
            return None
        return max(0.0, (run.first_delta_at - run.started_at).total_seconds())

    @property
    def is_switched(self) -> bool:
        """Whether the answer came from another model than the requested one."""
        run = self.generation
        return bool(run and run.model and run.model_name and run.model_name != run.model.name)


def message_views(messages: list[Message]) -> list[MessageView]:
    """Return views of `messages`.

    Takes four queries, and one more for each answer in progress.
    """
    versions = Message.siblings(messages)
    latest = _latest_generations(messages)
    # The answer may have ended between the two queries: read its final text again.
    if messages and messages[-1].pk in latest:
        messages[-1].refresh_from_db(fields=["text", "html", "thinking"])
    return [
        MessageView(message, latest.get(message.pk), versions[message.pk], _replayed(latest.get(message.pk)))
        for message in messages
    ]


def _latest_generations(messages: Iterable[Message]) -> dict[int, Generation]:
    by_pk = {message.pk: message for message in messages}
    latest: dict[int, Generation] = {}
    for generation in Generation.objects.filter(message__in=by_pk).select_related("model").order_by("pk"):
        generation.message = by_pk[generation.message_id]
        latest[generation.message_id] = generation
    return latest


def _replayed(generation: Generation | None) -> ReplayedText | None:
    if generation is None or not generation.is_active:
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

    @property
    def active(self) -> MessageView | None:
        """The answer in progress at the end of the page, if any."""
        return self.views[-1] if self.views and self.views[-1].is_active else None


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
    found = [] if until is None else conversation.messages.branch(until, limit=limit)
    messages = found or conversation.path(limit=limit, before=before)
    return MessagePage(conversation, message_views(messages), is_earlier=bool(found) or before is not None)


def address_of(message: Message) -> str:
    """Return the address of the page that shows this message, which may be old or on another branch."""
    conversation = message.conversation
    address = reverse("conversation", args=[conversation.pk])
    if message not in conversation.path(limit=PAGE_MESSAGES):
        address += f"?until={conversation.messages.newest_end(message.pk, limit=MESSAGES_AFTER)}"
    return f"{address}#m{message.pk}"


def number_from(request: AuthenticatedRequest, name: str) -> int | None:
    """Return a whole number from the query string; None if absent or invalid."""
    value = request.GET.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


@signed_in("GET")
def older(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the messages before `?before=`."""
    conversation = Conversation.get_for(request.user, pk)
    messages = message_page(conversation, before=number_from(request, "before"))
    return render(request, "chat/_messages.html", {"transcript": messages})


@signed_in("GET")
def transcript(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the newest messages, at most `?limit=`, to update an open page."""
    conversation = Conversation.get_for(request.user, pk)
    limit = min(number_from(request, "limit") or PAGE_MESSAGES, PAGE_MESSAGES)
    return render(
        request, "chat/_messages.html", {"transcript": message_page(conversation, limit=max(limit, 1))}
    )


@signed_in("GET")
def find(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Redirect to the page that shows a message, such as the one that a search found."""
    return redirect(address_of(Message.get_for(request.user, pk)))
