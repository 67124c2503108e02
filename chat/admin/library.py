"""Prompts and presets that staff share. Those of users are their own."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat.models import Preset, SavedPrompt


class SharedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    list_display = ["name", "shared_with"]
    search_fields = ["name"]
    filter_horizontal = ["groups"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        shared: QuerySet[Any] = super().get_queryset(request).filter(user=None).prefetch_related("groups")
        return shared

    @admin.display(description=_("shared with"))
    def shared_with(self, entry: Preset | SavedPrompt) -> str:
        return ", ".join(group.name for group in entry.groups.all()) or str(_("everybody"))


@admin.register(SavedPrompt)
class SavedPromptAdmin(SharedAdmin):
    fields = ["name", "text", "groups"]


@admin.register(Preset)
class PresetAdmin(SharedAdmin):
    fields = ["name", "model", "system_prompt", "temperature", "groups"]
