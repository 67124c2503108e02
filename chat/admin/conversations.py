"""Conversations for review: read-only, with a transcript of all branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.paginator import Page, Paginator
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from chat.admin.deletion import begin_erasure
from chat.admin.logs import LogAdmin, ago, number
from chat.models import Conversation, Erasure, Generation, Message

MESSAGES_PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class ReviewedMessage:
    """A message of a transcript, and its position in the tree."""

    message: Message
    generation: Generation | None
    is_shown: bool
    version: int
    versions: int
    follows_previous: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    messages: list[ReviewedMessage]
    page: Page[int]


class MessageTree:
    """The ids of all messages of a conversation, in the order of creation, without their text."""

    def __init__(self, conversation: Conversation) -> None:
        pairs = conversation.messages.order_by("pk").values_list("pk", "parent_id")
        self.parent_of: dict[int, int | None] = dict(pairs)
        self._children: dict[int | None, list[int]] = {}
        for pk, parent_id in self.parent_of.items():
            self._children.setdefault(parent_id, []).append(pk)

    def siblings(self, pk: int) -> list[int]:
        """Return all versions of a message, itself included, oldest first."""
        return self._children[self.parent_of[pk]]

    def branch(self, end: int | None) -> set[int]:
        """Return the messages on the path from the root to `end`."""
        found: set[int] = set()
        while end is not None and end not in found:
            found.add(end)
            end = self.parent_of.get(end)
        return found

    def page(self, page_number: str, message_id: str) -> Page[int]:
        """Return the page that shows a message, if there is one with that id, else the numbered page."""
        order = list(self.parent_of)
        pages = Paginator(order, MESSAGES_PER_PAGE)
        if message_id.isdecimal() and int(message_id) in self.parent_of:
            return pages.get_page(order.index(int(message_id)) // MESSAGES_PER_PAGE + 1)
        return pages.get_page(page_number)


def transcript(conversation: Conversation, page_number: str, message_id: str) -> Transcript:
    """Return one page of the transcript: all messages in the order of creation.

    The whole tree is read as pairs of ids; text is read only for the page.
    """
    tree = MessageTree(conversation)
    page = tree.page(page_number, message_id)
    messages = conversation.messages.in_bulk(list(page))
    generations = Generation.objects.filter(message__in=list(page)).order_by("pk").defer("prefix", "request")
    generation_of = {generation.message_id: generation for generation in generations}
    shown = tree.branch(conversation.leaf_id)
    reviewed: list[ReviewedMessage] = []
    previous: int | None = None
    for pk in page:
        siblings = tree.siblings(pk)
        reviewed.append(
            ReviewedMessage(
                message=messages[pk],
                generation=generation_of.get(pk),
                is_shown=pk in shown,
                version=siblings.index(pk) + 1,
                versions=len(siblings),
                follows_previous=previous is None or tree.parent_of[pk] == previous,
            )
        )
        previous = pk
    return Transcript(reviewed, page)


class DeletedFilter(admin.SimpleListFilter):
    title = _("deleted by user")
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("No")), ("yes", _("Yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(deleted_at__isnull=self.value() == "no")


@admin.register(Conversation)
class ConversationAdmin(LogAdmin):
    list_display = ["title_or_default", "user", "model", "messages_count", "last_message", "deleted"]
    list_filter = [DeletedFilter, "is_hidden", "updated_at", "model"]
    list_select_related = ["user", "model"]
    search_fields = ["title"]
    search_help_text = _("Words in a title or message, or a username")
    fields = [
        ("title", "user", "model"),
        ("created_at", "last_message", "deleted"),
        ("temperature", "system_prompt"),
    ]
    change_form_template = "admin/chat/conversation/change_form.html"

    class Media:
        css = {"all": ["chat/highlight.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        found: QuerySet[Conversation] = super().get_queryset(request)
        counts = (
            Message.objects.filter(conversation=OuterRef("pk"))
            .order_by()
            .values("conversation")
            .annotate(count=Count("pk"))
            .values("count")
        )
        found = found.filter(erasure=None)
        return found.annotate(messages_count=Coalesce(Subquery(counts, output_field=IntegerField()), 0))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Conversation.objects.search(term).order_by().values("pk")
        return queryset.filter(Q(user__username__icontains=term) | Q(pk__in=found)), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # The link from the page of a user.
        return lookup == "user__id__exact" or super().lookup_allowed(lookup, value, request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        conversation = self.get_object(request, object_id)
        if conversation is not None and self.has_view_permission(request, conversation):
            page = transcript(conversation, request.GET.get("page", ""), request.GET.get("message", ""))
            extra_context = {**(extra_context or {}), "transcript": page}
        return super().change_view(request, object_id, form_url, extra_context)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only superusers delete conversations here. It cannot be undone."""
        return bool(request.user.is_active and request.user.is_superuser)

    def delete_model(self, request: HttpRequest, conversation: Conversation) -> None:
        Erasure.objects.request_conversations([conversation.pk])
        begin_erasure(self, request)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Count the rows that are deleted too. Django would list each one, and find permissions missing."""
        ids = [conversation.pk for conversation in objs]
        counts = {
            str(Conversation._meta.verbose_name_plural): len(ids),
            str(Message._meta.verbose_name_plural): Message.objects.filter(conversation__in=ids).count(),
            str(Generation._meta.verbose_name_plural): Generation.objects.filter(
                message__conversation__in=ids
            ).count(),
        }
        return [str(conversation) for conversation in objs], counts, set(), []

    @admin.display(description=_("title"), ordering="title")
    def title_or_default(self, conversation: Conversation) -> str:
        return str(conversation)

    @admin.display(description=_("messages"), ordering="messages_count")
    def messages_count(self, conversation: Conversation) -> str:
        return number(getattr(conversation, "messages_count", None))

    @admin.display(description=_("last message"), ordering="updated_at")
    def last_message(self, conversation: Conversation) -> str:
        return ago(conversation.updated_at)

    @admin.display(description=_("deleted"), ordering="deleted_at")
    def deleted(self, conversation: Conversation) -> str:
        return ago(conversation.deleted_at)
