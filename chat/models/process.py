"""Processes that run answers, their heartbeats, and operators' overrides of breakers."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Process(models.Model):
    """A process that runs answers. It increments `counter` once a second while its event loop responds.

    Other processes measure on their own clocks how long the counter has not changed. `seen_at` is only for
    display.
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
    pid = models.PositiveIntegerField(_("process ID"))
    url = models.CharField(_("URL"), max_length=200, blank=True)
    version = models.CharField(_("version"), max_length=40, blank=True)
    counter = models.PositiveBigIntegerField(_("heartbeats"), default=0)
    status = models.JSONField(_("status"), default=dict)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    seen_at = models.DateTimeField(_("last seen"), default=timezone.now)

    class Meta:
        ordering = ["-started_at"]
        verbose_name_plural = _("processes")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class BreakerOverride(models.Model):
    """The operator override of the breaker of one model at one endpoint, for all processes.

    There is one row per pair and it is never deleted. Each change increments `revision`; a process applies
    every revision once. `hold_open` lasts until `close`, also in processes that start later. `close` closes
    the breaker once; after that it opens by its own rules again. Of two changes within one tick, the later
    one wins. The row has names instead of foreign keys because breakers are identified by names.
    """

    endpoint_name = models.CharField(_("endpoint"), max_length=80)
    model_name = models.CharField(_("model"), max_length=200)
    is_held = models.BooleanField(_("switched off"))
    revision = models.PositiveBigIntegerField(_("revision"), default=1)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("operator")
    )
    at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint_name", "model_name"], name="one_override_per_breaker")
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_name}, {self.model_name}"

    @classmethod
    def hold_open(cls, endpoint_name: str, model_name: str, *, by: AbstractUser) -> BreakerOverride:
        """Force the breaker open in all processes until `close`."""
        return cls._override(endpoint_name, model_name, is_held=True, by=by)

    @classmethod
    def close(cls, endpoint_name: str, model_name: str, *, by: AbstractUser) -> BreakerOverride:
        """Close the breaker in all processes, whatever its state is."""
        return cls._override(endpoint_name, model_name, is_held=False, by=by)

    @classmethod
    def _override(
        cls, endpoint_name: str, model_name: str, *, is_held: bool, by: AbstractUser
    ) -> BreakerOverride:
        override = {"is_held": is_held, "by_id": by.pk, "at": timezone.now()}
        row, _is_new = cls.objects.update_or_create(
            endpoint_name=endpoint_name,
            model_name=model_name,
            defaults={**override, "revision": F("revision") + 1},
            create_defaults=override,
        )
        return row
