"""Signing in: one-time links, and failed attempts, which are throttled."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import unicodedata
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused


class SigninLink(models.Model):
    """A link that signs a user in once. Only a digest of its token is stored."""

    LIFETIME = timedelta(minutes=15)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("sign-in link")
        verbose_name_plural = _("sign-in links")

    def __str__(self) -> str:
        return f"sign-in link for {self.user}"

    @staticmethod
    def _digest(token: str) -> str:
        return hashlib.sha256(token.encode(errors="replace")).hexdigest()

    @classmethod
    def make(cls, user_id: int) -> str:
        """Create a link and return its token. Older unused links of the user become invalid."""
        cls.objects.filter(user_id=user_id, used_at=None).delete()
        token = secrets.token_urlsafe(24)
        cls.objects.create(user_id=user_id, digest=cls._digest(token))
        return token

    @classmethod
    def find(cls, token: str) -> SigninLink | None:
        """Return the link of a token if it is still valid. Does not use it."""
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
        """Mark the link as used. Return False if it was used before."""
        now = timezone.now()
        return SigninLink.objects.filter(pk=self.pk, used_at=None).update(used_at=now) == 1


class SigninFailure(models.Model):
    """A sign-in with a password that failed, or whose outcome is not known yet.

    The user name is stored as a keyed digest, because users sometimes type their password into that field.
    """

    WINDOW = timedelta(minutes=5)
    PER_NAME = 5
    PER_ADDRESS = 20

    name_digest = models.CharField(max_length=64)
    address = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("failed sign-in")
        verbose_name_plural = _("failed sign-ins")
        indexes = [
            models.Index(fields=["name_digest", "created_at"]),
            models.Index(fields=["address", "created_at"]),
            models.Index(fields=["created_at"]),
        ]

    def __str__(self) -> str:
        return f"failed sign-in at {self.created_at}"

    @classmethod
    def expect(cls, name: str, address: str) -> SigninFailure:
        """Count an attempt as failed before its password is checked; `forgive` removes it on success.

        Counting first means that concurrent attempts count each other. Unknown names are counted as well.
        Raises RequestRefused `too_many_signins`; that attempt is not counted.
        """
        now = timezone.now()
        cls.objects.filter(created_at__lt=now - cls.WINDOW).delete()
        digest = salted_hmac("chat.SigninFailure", _folded(name), algorithm="sha256").hexdigest()
        attempt = cls.objects.create(name_digest=digest, address=network_of(address))
        previous = cls.objects.filter(created_at__gte=now - cls.WINDOW, pk__lt=attempt.pk)
        limits = [(previous.filter(name_digest=digest), cls.PER_NAME)]
        # The address is empty behind a proxy that does not forward it.
        if attempt.address:
            limits.append((previous.filter(address=attempt.address), cls.PER_ADDRESS))
        free_at = [free for rows, limit in limits if (free := cls._free_at(rows, limit))]
        if free_at:
            attempt.delete()
            raise _too_many(max(1.0, (max(free_at) - now).total_seconds()))
        return attempt

    def forgive(self) -> None:
        """Delete the failures of this name, because the password was correct."""
        SigninFailure.objects.filter(name_digest=self.name_digest).delete()

    @classmethod
    def _free_at(cls, rows: models.QuerySet[SigninFailure], limit: int) -> datetime | None:
        """Return when fewer than `limit` of `rows` will be in the window. None: already fewer."""
        times = list(rows.order_by("-created_at").values_list("created_at", flat=True)[:limit])
        return times[-1] + cls.WINDOW if len(times) == limit else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name.strip()).casefold()


def network_of(address: str) -> str:
    """Return the address, or its /64 network for IPv6, where one client has 2**64 addresses."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _too_many(wait_s: float) -> RequestRefused:
    minutes = -(-int(wait_s) // 60) or 1
    wait = ngettext("%(minutes)s minute", "%(minutes)s minutes", minutes) % {"minutes": minutes}
    return RequestRefused(
        "too_many_signins",
        gettext(
            "Too many failed sign-ins. Wait %(wait)s and try again. If you forgot your password, "
            "ask the administrator of this site for a sign-in link."
        )
        % {"wait": wait},
        retry_after_s=wait_s,
    )
