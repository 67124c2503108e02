"""The list of all batches, for operators: how far they are, what they cost, what is wrong with them."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import LogAdmin, ago, number, state
from chat.models import Batch


@admin.register(Batch)
class BatchAdmin(LogAdmin):
    # No names, templates or rows: what users wrote is read as conversations, which the access log records.
    list_display = ["created_at", "user", "model_name", "runner", "badge", "rows", "cost_usd", "ended"]
    list_filter = ["status", "runner", "model_name", "created_at"]
    list_select_related = ["user"]
    fields = [
        *("user", "api_key", "model_name", "runner", "status", "rows", "input_tokens", "output_tokens"),
        *("cost_usd", "error_message", "provider_file", "provider_batch", "provider_status"),
        *("created_at", "started_at", "finished_at"),
    ]
    readonly_fields = ["rows", "ended"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        found: QuerySet[Batch] = super().get_queryset(request)
        return found.defer("system_prompt", "template", "columns", "input_errors")

    @admin.display(description=_("status"), ordering="status")
    def badge(self, batch: Batch) -> str:
        return state(batch.status, batch.get_status_display())

    @admin.display(description=_("completed, failed, all"))
    def rows(self, batch: Batch) -> str:
        return number(f"{batch.completed} / {batch.failed} / {batch.total}")

    @admin.display(description=_("ended"), ordering="finished_at")
    def ended(self, batch: Batch) -> str:
        return ago(batch.finished_at)
