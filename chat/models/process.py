"""Server processes and their heartbeat, and the owner's sign-in links."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import timedelta

from django.conf import settings
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


class SigninLink(models.Model):
    """A link that signs one person in once. Only a digest of its token is stored."""

    LIFETIME = timedelta(minutes=15)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"sign-in link for {self.user}"

    @staticmethod
    def _digest(token: str) -> str:
        return hashlib.sha256(token.encode(errors="replace")).hexdigest()

    @classmethod
    def make(cls, user_id: int) -> str:
        """Return the token of a new link; the person's older unused links end."""
        cls.objects.filter(user_id=user_id, used_at=None).delete()
        token = secrets.token_urlsafe(24)
        cls.objects.create(user_id=user_id, digest=cls._digest(token))
        return token

    @classmethod
    def find(cls, token: str) -> SigninLink | None:
        """Return the link if it could still be used, without using it."""
        return (
            cls.objects.select_related("user")
            .filter(
                digest=cls._digest(token),
                used_at=None,
                created_at__gt=timezone.now() - cls.LIFETIME,
                user__is_active=True,
            )
            .first()
        )

    def use(self) -> bool:
        """Use the link up; False if somebody else was first."""
        now = timezone.now()
        return SigninLink.objects.filter(pk=self.pk, used_at=None).update(used_at=now) == 1
