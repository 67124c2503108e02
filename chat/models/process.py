"""Server processes and their heartbeat."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# This process, in every row it owns.
PROCESS_ID = uuid.uuid4().hex


class Process(models.Model):
    """One running server process. `counter` moves each second while its event loop is alive.

    Whoever watches judges by its own clock how long the counter stood still; `seen_at` is only shown.
    """

    id = models.CharField(primary_key=True, max_length=32)
    host = models.CharField(_("host"), max_length=200)
    pid = models.PositiveIntegerField(_("pid"))
    url = models.CharField(_("address"), max_length=200, blank=True)
    version = models.CharField(_("version"), max_length=40, blank=True)
    counter = models.PositiveBigIntegerField(_("counter"), default=0)
    status = models.JSONField(_("status"), default=dict)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    seen_at = models.DateTimeField(_("seen"), default=timezone.now)

    class Meta:
        ordering = ["-started_at"]
        verbose_name_plural = _("processes")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
