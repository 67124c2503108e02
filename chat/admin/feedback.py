"""What users think of answers: their thumbs, reasons and comments."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from chat.admin.access import RecordedAdmin
from chat.admin.answer_filters import PERIOD_OF_FEEDBACK
from chat.admin.logs import ago, state
from chat.admin.masked import shown_text, with_masking
from chat.models import Feedback
from chat.usage.behind import model_of_feedback


@admin.register(Feedback)
class FeedbackAdmin(RecordedAdmin):
    list_display = ["thumb", "reason_list", "short_comment", "user", "given", "answer"]
    list_filter = ["value", *PERIOD_OF_FEEDBACK]
    list_select_related = ["user"]
    search_fields = ["user__username", "comment"]
    search_help_text = _("Username, or words of the comment")
    ordering = ["-id"]
    fields = ["thumb", "reason_list", "short_comment", "user", "given", "answer"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = model_of_feedback(super().get_queryset(request)).annotate(
            conversation_pk=F("message__conversation_id")
        )
        found: QuerySet[Any] = with_masking(model_of_feedback(rows), request)
        return found

    def conversation_of(self, feedback: Any) -> tuple[UUID, int]:
        return feedback.conversation_pk, feedback.user_id

    @admin.display(description=_("feedback"), ordering="value")
    def thumb(self, feedback: Feedback) -> str:
        return state("completed" if feedback.value > 0 else "failed", feedback.get_value_display())

    @admin.display(description=_("reasons"))
    def reason_list(self, feedback: Feedback) -> str:
        return ", ".join(feedback.reason_names)

    @admin.display(description=_("comment"))
    def short_comment(self, feedback: Feedback) -> str:
        return shown_text(feedback, feedback.comment)

    @admin.display(description=_("given"), ordering="id")
    def given(self, feedback: Feedback) -> str:
        return ago(feedback.updated_at)

    @admin.display(description=_("answer"))
    def answer(self, feedback: Any) -> str:
        url = reverse("admin:chat_conversation_change", args=[feedback.conversation_pk])
        return format_html(
            '<a href="{}?message={}#m{}">{}</a>', url, feedback.message_id, feedback.message_id, _("show")
        )
