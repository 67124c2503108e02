"""Conversations, read-only, for review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from chat.admin.formatting import ago, number
from chat.admin.logs import LogAdmin
from chat.admin.transcript import transcript
from chat.models import Conversation, Generation, Message


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
    search_help_text = _("Search titles, messages and user names.")
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
        # The link on the page of a user.
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
            shown = transcript(conversation, request.GET.get("page", ""), request.GET.get("message", ""))
            extra_context = {**(extra_context or {}), "transcript": shown}
        return super().change_view(request, object_id, form_url, extra_context)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let only superusers delete conversations, which is permanent."""
        return bool(request.user.is_active and request.user.is_superuser)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Return counts. Django would list each of 2,000 messages, and require permissions for logs."""
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
