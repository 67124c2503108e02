"""Conversations as their people see them, for review. Nothing here changes a word."""

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

from chat.admin.logs import LogAdmin, ago, number
from chat.models import Conversation, Generation, Message

MESSAGES_PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in a transcript, and its place in the tree."""

    message: Message
    generation: Generation | None
    is_shown: bool
    version: int
    versions: int
    follows_previous: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    entries: list[Entry]
    page: Page[int]


def transcript(conversation: Conversation, page_number: str, message_id: str) -> Transcript:
    """Return one page of all messages in the order they were written, or the page of a message.

    The whole tree is read as pairs of ids; text is read for the page alone.
    """
    pairs = list(conversation.messages.order_by("pk").values_list("pk", "parent_id"))
    parent_of: dict[int, int | None] = dict(pairs)
    children: dict[int | None, list[int]] = {}
    for pk, parent_id in pairs:
        children.setdefault(parent_id, []).append(pk)
    shown = _branch(parent_of, conversation.leaf_id)
    order = list(parent_of)
    pages = Paginator(order, MESSAGES_PER_PAGE)
    if message_id.isdecimal() and int(message_id) in parent_of:
        page = pages.get_page(order.index(int(message_id)) // MESSAGES_PER_PAGE + 1)
    else:
        page = pages.get_page(page_number)
    messages = conversation.messages.in_bulk(list(page))
    runs = Generation.objects.filter(message__in=list(page)).order_by("pk").defer("prefix", "request")
    run_of = {run.message_id: run for run in runs}
    entries: list[Entry] = []
    previous: int | None = None
    for pk in page:
        siblings = children[parent_of[pk]]
        entries.append(
            Entry(
                message=messages[pk],
                generation=run_of.get(pk),
                is_shown=pk in shown,
                version=siblings.index(pk) + 1,
                versions=len(siblings),
                follows_previous=previous is None or parent_of[pk] == previous,
            )
        )
        previous = pk
    return Transcript(entries, page)


def _branch(parent_of: dict[int, int | None], end: int | None) -> set[int]:
    found: set[int] = set()
    while end is not None and end not in found:
        found.add(end)
        end = parent_of.get(end)
    return found


class DeletedFilter(admin.SimpleListFilter):
    title = _("deleted by its person")
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
    search_help_text = _("Words of the title or of a message, or a user name.")
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
        # The way here from a person's own page.
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
            read = transcript(conversation, request.GET.get("page", ""), request.GET.get("message", ""))
            extra_context = {**(extra_context or {}), "transcript": read}
        return super().change_view(request, object_id, form_url, extra_context)

    # -- deleting: for good, and by superusers alone ----------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Count what goes with them; Django would list each of 2,000 messages, and miss permissions."""
        ids = [conversation.pk for conversation in objs]
        counts = {
            str(Conversation._meta.verbose_name_plural): len(ids),
            str(Message._meta.verbose_name_plural): Message.objects.filter(conversation__in=ids).count(),
            str(Generation._meta.verbose_name_plural): Generation.objects.filter(
                message__conversation__in=ids
            ).count(),
        }
        return [str(conversation) for conversation in objs], counts, set(), []

    # -- columns ----------------------------------------------------------------------------------

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
