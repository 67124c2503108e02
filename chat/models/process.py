"""Processes that run answers and their heartbeat, and what operators tell all of them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# This process, in every row it owns.
PROCESS_ID = uuid.uuid4().hex


class Process(models.Model):
    """One process that runs answers. `counter` moves each second while its event loop is alive.

    Whoever watches judges by its own clock how long the counter stood still; `seen_at` is only shown.
    """

    class Kind(models.TextChoices):
        SERVER = "server", _("server")
        WORKER = "worker", _("worker")
        COMMAND = "command", _("command")

    id = models.CharField(primary_key=True, max_length=32)
    kind = models.CharField(
        _("kind"), max_length=10, choices=Kind, default=Kind.SERVER, db_default=Kind.SERVER
    )
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


class BreakerOverride(models.Model):
    """An operator's last word on the breaker of one model at one endpoint, for every process.

    One row per pair, kept for good. `revision` moves with each word; a process applies a row when it has
    not applied that revision yet. So `hold_open` is in force until `close`, also in a process that starts
    later, while `close` opens the way once: after it the breaker is its own master again. Of two words
    within one tick the later one counts. Names, not foreign keys: that is how a breaker is known.
    """

    endpoint_name = models.CharField(_("endpoint"), max_length=80)
    model_name = models.CharField(_("model"), max_length=200)
    is_held = models.BooleanField(_("held open"))
    revision = models.PositiveBigIntegerField(_("revision"), default=1)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint_name", "model_name"], name="one_override_per_breaker")
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_name}, {self.model_name}"

    @classmethod
    def hold_open(cls, endpoint_name: str, model_name: str, *, by: AbstractUser) -> BreakerOverride:
        """Let no process call a model until `close`."""
        return cls._say(endpoint_name, model_name, is_held=True, by=by)

    @classmethod
    def close(cls, endpoint_name: str, model_name: str, *, by: AbstractUser) -> BreakerOverride:
        """Let every process call a model again, whatever was."""
        return cls._say(endpoint_name, model_name, is_held=False, by=by)

    @classmethod
    def _say(cls, endpoint_name: str, model_name: str, *, is_held: bool, by: AbstractUser) -> BreakerOverride:
        word = {"is_held": is_held, "by_id": by.pk, "at": timezone.now()}
        row, _is_new = cls.objects.update_or_create(
            endpoint_name=endpoint_name,
            model_name=model_name,
            defaults={**word, "revision": F("revision") + 1},
            create_defaults=word,
        )
        return row
