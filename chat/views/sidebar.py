"""The list of conversations: search, rename, delete, restore."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from itertools import groupby

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chat import search
from chat.generation.start import stop_requested_sync
from chat.models import Conversation, Generation, Project
from chat.models.conversation import ConversationQuerySet
from chat.models.position import Position
from chat.runtime.process import current_runtime
from chat.text import clean
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.filters import ListQuery
from chat.views.forms import RenameForm

PAGE_CONVERSATIONS = 40
PINNED_MAX = 100
# So many are reloaded at most: the rest is loaded again when the user scrolls.
SHOWN_MAX = 2_000


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
    # The unseen answer ended early.
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class ConversationGroup:
    """Conversations of about the same age."""

    label: str
    items: list[ConversationItem]
    is_today: bool = False


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
    asked = ListQuery.parse(query)
    own = Conversation.objects.of(request.user).listable().order_by("-updated_at", "-pk")
    found = asked.apply(own)
    hits = asked.find(request.user)
    if asked.words:
        found = found.filter(pk__in=list(hits.message_of))
    pinned: list[Conversation] = []
    if asked.is_empty:
        is_first_page = "after" not in request.GET
        pinned = (
            list(_with_marks(found.filter(pinned_at__isnull=False))[:PINNED_MAX]) if is_first_page else []
        )
        found = found.filter(pinned_at=None)
    conversations, next_after = _page_of(_with_marks(found), request)
    snippets = search.snippets(hits, [conversation.pk for conversation in conversations])
    running = _running_ids(request)
    items = [
        ConversationItem(
            conversation,
            search.marked(str(conversation), hits.terms),
            search.marked(cut, hits.terms) if (cut := snippets.get(conversation.pk)) else None,
            hit_id=hits.message_of.get(conversation.pk) if cut else None,
            is_current=str(conversation.pk) == current_id,
            is_running=conversation.pk in running,
            has_unseen_answer=getattr(conversation, "has_unseen_answer", False),
            has_failed=getattr(conversation, "has_failed", False),
        )
        for conversation in [*pinned, *conversations]
    ]
    groups = grouped(items[len(pinned) :])
    if pinned:
        groups = [ConversationGroup(_("Pinned"), items[: len(pinned)]), *groups]
    shown = str(_position(conversations[-1])) if conversations else ""
    return Sidebar(query, groups, shown, next_after, current_id)


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


def _with_marks(found: ConversationQuerySet) -> ConversationQuerySet:
    unseen = Generation.objects.filter(message=OuterRef("leaf"), finished_at__gt=OuterRef("seen_at"))
    failed = unseen.filter(status__in=[Generation.Status.FAILED, Generation.Status.INTERRUPTED])
    return found.annotate(has_unseen_answer=Exists(unseen), has_failed=Exists(failed))


def _running_ids(request: AuthenticatedRequest) -> set[uuid.UUID]:
    active = Generation.objects.active().at_provider(False).filter(user=request.user.pk)
    return set(active.values_list("message__conversation_id", flat=True))


def grouped(items: list[ConversationItem]) -> list[ConversationGroup]:
    """Group `items`, which are ordered newest first, by age."""
    today = timezone.localdate()
    return [
        ConversationGroup(label, list(group), is_today=label == age_label(today, today))
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
def projects(request: AuthenticatedRequest) -> HttpResponse:
    """Return the list of projects as a fragment."""
    return render(request, "chat/_projects.html", {"projects": Project.objects.of(request.user)})


@signed_in("GET")
def sidebar(request: AuthenticatedRequest) -> HttpResponse:
    """Return the list as a fragment."""
    return render(request, "chat/_conversations.html", {"sidebar": sidebar_of(request)})


@signed_in("GET")
def options(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show what can be done with a conversation: its menu in the list, as a page without JavaScript."""
    conversation = Conversation.get_for(request.user, pk)
    return render(request, "chat/options.html", {"conversation": conversation})


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


def delete_and_stop(user: User, conversation: Conversation) -> None:
    """Delete a conversation so that it can be restored, and stop its answers."""
    runtime = current_runtime()
    generation_ids = runtime.writer.run(conversation.delete_softly)
    stop_requested_sync(runtime.runner, user, generation_ids)


@signed_in("POST")
def delete(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Delete a conversation and stop its answers. The deletion can be undone."""
    conversation = Conversation.get_for(request.user, pk)
    delete_and_stop(request.user, conversation)
    current_runtime().notifications.changed(request.user.pk, pk, "deleted")
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
