"""Server processes: who runs, since when, and what it says about itself."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from chat.admin.logs import LogAdmin, ago, number, pretty
from chat.models import Process


@admin.register(Process)
class ProcessAdmin(LogAdmin):
    list_display = ["__str__", "url", "version", "started", "seen", "beats"]
    fields = ["id", "host", "pid", "url", "version", "started", "seen", "beats", "observed"]

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, process: Process) -> str:
        return ago(process.started_at)

    @admin.display(description=_("last seen"), ordering="seen_at")
    def seen(self, process: Process) -> str:
        return ago(process.seen_at)

    @admin.display(description=_("heartbeats"))
    def beats(self, process: Process) -> str:
        return number(process.counter)

    @admin.display(description=_("status"))
    def observed(self, process: Process) -> str:
        return pretty(process.status)
