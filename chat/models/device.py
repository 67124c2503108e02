"""Devices: where users are signed in, with the browser and the time of the last use."""

from __future__ import annotations

import re
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.text import clean

AGENT_MAX_CHARS = 300
# The last use is known to this precision: each request would otherwise write a row.
NOTED_EVERY_S = 600
# In this order: a browser also names those that it descends from.
_BROWSERS = [
    *(("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("FxiOS", "Firefox")),
    *(("CriOS", "Chrome"), ("(Headless)?Chrome", "Chrome"), ("Safari", "Safari")),
]
_SYSTEMS = [
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows")),
    *(("CrOS", "ChromeOS"), ("Mac OS X", "Mac"), ("Linux", "Linux")),
]


class Device(models.Model):
    """A session of a user, as its page of settings lists it. It is gone when the session is."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="devices")
    session_key = models.CharField(max_length=40, unique=True)
    # As the browser names itself.
    agent = models.CharField(max_length=AGENT_MAX_CHARS, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-last_used_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """Browser and system in words."""
        browser = next((name for word, name in _BROWSERS if re.search(rf"\b{word}", self.agent)), "")
        system = next((name for word, name in _SYSTEMS if word in self.agent), "")
        if browser and system:
            return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
        return browser or system or _("Unknown device")

    @classmethod
    def note(cls, user_id: int, session_key: str | None, agent: str) -> None:
        """Store that a session was used, unless that was stored a short while ago."""
        if not session_key or not cache.add(f"device:{session_key}", True, NOTED_EVERY_S):
            return
        values = {"agent": clean(agent)[:AGENT_MAX_CHARS], "last_used_at": timezone.now()}
        if not cls.objects.filter(session_key=session_key, user_id=user_id).update(**values):
            Device.objects.bulk_create(
                [Device(user_id=user_id, session_key=session_key, **values)], ignore_conflicts=True
            )

    @classmethod
    def of(cls, user: AbstractUser) -> list[Device]:
        """Return the devices with a session that is still valid, the last used first; delete the others."""
        own = list(cls.objects.filter(user_id=user.pk))
        valid = Session.objects.filter(
            session_key__in=[device.session_key for device in own], expire_date__gt=timezone.now()
        )
        keys = set(valid.values_list("session_key", flat=True))
        ended = [device.pk for device in own if device.session_key not in keys]
        if ended:
            cls.objects.filter(pk__in=ended).delete()
        return [device for device in own if device.session_key in keys]

    @classmethod
    def sign_out(cls, user: AbstractUser, pk: int | None, *, except_key: str | None) -> int:
        """End the session of one device, or of all (`pk` None), but not `except_key`; return how many.

        Open sockets of these sessions are closed within seconds.
        """
        chosen = cls.objects.filter(user_id=user.pk).exclude(session_key=except_key or "")
        if pk is not None:
            chosen = chosen.filter(pk=pk)
        keys = list(chosen.values_list("session_key", flat=True))
        Session.objects.filter(session_key__in=keys).delete()
        return chosen.delete()[0]

    @classmethod
    def delete_unused(cls, rows: int) -> int:
        """Delete rows whose session has expired."""
        before = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
        old = cls.objects.filter(last_used_at__lt=before).values_list("pk", flat=True)[:rows]
        return cls.objects.filter(pk__in=list(old)).delete()[0]
