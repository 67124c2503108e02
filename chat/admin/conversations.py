"""Conversations for review: read-only, with a transcript of all branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from chat.admin.access import RecordedAdmin
from chat.admin.bulk import BulkActions
from chat.admin.conversation_list import ConversationList
from chat.admin.deletion import begin_erasure
from chat.admin.export import export_link
from chat.admin.masked import shown_text, with_masking
from chat.admin.transcript import TranscriptPages
from chat.models import Conversation, Erasure, Generation, Message


@admin.register(Conversation)
class ConversationAdmin(BulkActions, ConversationList, RecordedAdmin):  # type: ignore[misc]
    class Media:
        css = {"all": ["chat/prose.css", "chat/timeline.css", "chat/review.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        found: QuerySet[Conversation] = super().get_queryset(request)
        found = found.exclude(pk__in=Erasure.objects.conversations()).defer("system_prompt")
        found = found.prefetch_related("user", "model")
        return with_masking(found, request)  # type: ignore[no-any-return]

    def conversation_of(self, conversation: Conversation) -> tuple[UUID, int]:
        return conversation.pk, conversation.user_id

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # The link from the page of a user.
        return lookup == "user__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = TranscriptPages(self)
        return [
            path("queue/", view(pages.queue), name="chat_conversation_queue"),
            path("agreement/", view(pages.agreement), name="chat_conversation_agreement"),
            path("export/", view(export_link), name="chat_conversation_export"),
            path("<path:object_id>/redact/", view(pages.redact), name="chat_conversation_redact"),
            path(
                "<path:object_id>/attachments/<uuid:pk>/",
                view(pages.attachment),
                name="chat_conversation_attachment",
            ),
            path("<path:object_id>/panel/", view(pages.panel), name="chat_conversation_panel"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the transcript. Nothing in it can be changed."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        return TranscriptPages(self).transcript(request, object_id)

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

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Nobody changes conversations here; what is left is a title, which may have to be masked."""
        raise Http404

    def action_checkbox(self, conversation: Conversation) -> SafeString:
        """Return the check box of a row, whose label is the title."""
        conversation.title = shown_text(conversation, conversation.title)
        return super().action_checkbox(conversation)
