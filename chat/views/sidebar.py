"""The list of conversations: search, rename, delete, restore."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from itertools import groupby

from django.contrib import messages
from django.db.models import Exists, OuterRef, Subquery, Value
from django.db.models.functions import Greatest, Length, Substr
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chat.generation.start import stop_requested_sync
from chat.models import Conversation, Generation, Message, search
from chat.models.conversation import ConversationQuerySet
from chat.models.position import Position
from chat.runtime.process import current_runtime
from chat.text import clean
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.forms import RenameForm

PAGE_CONVERSATIONS = 40
# So many are reloaded at most: the rest is loaded again when the user scrolls.
SHOWN_MAX = 2_000
SNIPPET_CHARS = 140
# What is read of a matching text, to find the place of the match in it.
CUT_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class ConversationItem:
    """One conversation in the list. `snippet` is the text around a search match."""

    conversation: Conversation
    title: SafeString
    snippet: SafeString | None = None
    # The message in which it was found.
    hit_id: int | None = None
    is_current: bool = False
    is_running: bool = False
    has_unseen_answer: bool = False


@dataclass(frozen=True, slots=True)
class ConversationGroup:
    """Conversations of about the same age."""

    label: str
    items: list[ConversationItem]


@dataclass(frozen=True, slots=True)
class Sidebar:
    """The shown part of the list, grouped by age."""

    query: str
    groups: list[ConversationGroup]
    # The position of the last conversation.
    through: str
    # The same, if there are more.
    next_after: str | None
    current_id: str = ""


def sidebar_of(request: AuthenticatedRequest, current: Conversation | None = None) -> Sidebar:
    """Return the list for a query string.

    `q`: the search; `after`: the page after this position; `through`: all down to this position.
    """
    current_id = str(current.pk) if current else request.GET.get("current", "")
    query = clean(request.GET.get("q", "")).strip()
    words = search.words_of(query)
    found = Conversation.objects.of(request.user).visible().search(query).order_by("-updated_at", "-pk")
    found = _with_unseen(found)
    if words:
        found = _with_snippets(found, words[0])
    conversations, next_after = _page_of(found, request)
    running = _running_ids(request)
    items = [
        ConversationItem(
            conversation,
            marked(str(conversation), words),
            _snippet(conversation, words),
            hit_id=getattr(conversation, "hit_id", None),
            is_current=str(conversation.pk) == current_id,
            is_running=conversation.pk in running,
            has_unseen_answer=getattr(conversation, "has_unseen_answer", False),
        )
        for conversation in conversations
    ]
    shown = str(_position(conversations[-1])) if conversations else ""
    return Sidebar(query, grouped(items), shown, next_after, current_id)


def _page_of(
    found: ConversationQuerySet, request: AuthenticatedRequest
) -> tuple[list[Conversation], str | None]:
    """Return the wanted conversations, and the position after which there are more, if there are.

    Neither counts nor skips rows, so a page far down takes no longer than the first one.
    """
    size = PAGE_CONVERSATIONS
    if through := Position.parse(request.GET.get("through", "")):
        size = max(PAGE_CONVERSATIONS, min(found.order_by().filter(through.down_to).count(), SHOWN_MAX))
    elif after := Position.parse(request.GET.get("after", "")):
        found = found.filter(after.below)
    # One more than is shown tells whether there are more.
    conversations = list(found[: size + 1])
    has_more = len(conversations) > size
    conversations = conversations[:size]
    return conversations, str(_position(conversations[-1])) if has_more else None


def _position(conversation: Conversation) -> Position:
    return Position(conversation.updated_at, conversation.pk)


def _with_unseen(found: ConversationQuerySet) -> ConversationQuerySet:
    unseen = Generation.objects.filter(message=OuterRef("leaf"), finished_at__gt=OuterRef("seen_at"))
    return found.annotate(has_unseen_answer=Exists(unseen))


def _with_snippets(found: ConversationQuerySet, word: str) -> ConversationQuerySet:
    # Cut the text in the database, because a conversation can hold megabytes.
    holding = Message.objects.filter(search.contains("text", word), conversation=OuterRef("pk"))
    # The folded text can be longer or shorter, so this is about where the word is in the text itself.
    at = search.position_in("text", word) * Length("text") / Length(search.Fold("text"))
    cut = Substr("text", Greatest(at - CUT_CHARS // 2, Value(1)), CUT_CHARS)
    newest = holding.order_by("-pk").annotate(cut=cut)
    return found.annotate(cut=Subquery(newest.values("cut")[:1]), hit_id=Subquery(newest.values("pk")[:1]))


def _snippet(conversation: Conversation, words: list[str]) -> SafeString | None:
    cut = " ".join((getattr(conversation, "cut", None) or "").split())
    found = search.spans(cut, words[:1])
    start = max(0, found[0][0] - 40) if found else 0
    return marked(cut[start : start + SNIPPET_CHARS], words) if found else None


def _running_ids(request: AuthenticatedRequest) -> set[uuid.UUID]:
    active = Generation.objects.active().filter(user=request.user.pk)
    return set(active.values_list("message__conversation_id", flat=True))


def marked(text: str, words: list[str]) -> SafeString:
    """Return `text` as HTML with each of `words` in a <mark>."""
    pieces: list[str] = []
    after = 0
    for start, end in search.spans(text, words):
        pieces += [text[after:start], format_html("<mark>{}</mark>", text[start:end])]
        after = end
    return format_html_join("", "{}", ((piece,) for piece in (*pieces, text[after:])))


def grouped(items: list[ConversationItem]) -> list[ConversationGroup]:
    """Group `items`, which are ordered newest first, by age."""
    today = timezone.localdate()
    return [
        ConversationGroup(label, list(group))
        for label, group in groupby(
            items, key=lambda item: age_label(timezone.localdate(item.conversation.updated_at), today)
        )
    ]


def age_label(day: datetime.date, today: datetime.date) -> str:
    days = (today - day).days
    if days <= 0:
        return _("Today")
    if days == 1:
        return _("Yesterday")
    if days <= 7:
        return _("Last 7 days")
    return date_format(day, "YEAR_MONTH_FORMAT")


@signed_in("GET")
def sidebar(request: AuthenticatedRequest) -> HttpResponse:
    """Return the list as a fragment."""
    return render(request, "chat/_conversations.html", {"sidebar": sidebar_of(request)})


@signed_in("GET", "POST")
def rename(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Rename a conversation, in the list or on a page of its own."""
    conversation = Conversation.get_for(request.user, pk)
    form = RenameForm(request.POST or None, instance=conversation)
    if request.method == "POST" and form.is_valid():
        conversation.save(update_fields=["title"])
        current_runtime().notifications.changed(request.user.pk, pk, "renamed")
        if request.htmx:
            return _refreshed()
        return redirect("conversation", pk=pk)
    template = "chat/_rename.html" if request.htmx else "chat/rename.html"
    status = 422 if form.is_bound else 200
    return render(request, template, {"conversation": conversation, "form": form}, status=status)


@signed_in("POST")
def delete(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Delete a conversation and stop its answers. The deletion can be undone."""
    conversation = Conversation.get_for(request.user, pk)
    runtime = current_runtime()
    generation_ids = runtime.writer.run(conversation.delete_softly)
    stop_requested_sync(runtime.runner, request.user, generation_ids)
    runtime.notifications.changed(request.user.pk, pk, "deleted")
    if request.htmx:
        response = render(request, "chat/_undo.html", {"pk": pk, "title": str(conversation)})
        response["HX-Trigger"] = "conversations-changed"
        return response
    messages.info(request, str(conversation), extra_tags=str(pk))
    return redirect("chat")


@signed_in("POST")
def restore(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Undo the deletion of a conversation."""
    conversation = Conversation.get_for(request.user, pk, or_deleted=True)
    conversation.restore()
    current_runtime().notifications.changed(request.user.pk, pk, "restored")
    if request.htmx:
        return _refreshed()
    return redirect("conversation", pk=pk)


def _refreshed() -> HttpResponse:
    """Return an empty response that makes the page reload the list."""
    response = HttpResponse()
    response["HX-Trigger"] = "conversations-changed"
    return response
