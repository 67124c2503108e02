"""Keys of programs: who a request of the API comes from, what it may do, and how much of it at once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused
from chat.models.generation import Generation
from chat.text import clean

# When a key was last used is written down at most so often.
USE_NOTED_EVERY = timedelta(minutes=1)
# A slot of one's own may be free in a moment; nobody knows when.
RUNNING_RETRY_AFTER_S = 1.0


def every_scope() -> list[str]:
    return list(ApiKey.Scope.values)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def valid(self) -> ApiKeyQuerySet:
        """Return those that open the door now."""
        lasting = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(lasting, revoked_at=None, user__is_active=True)


class ApiKey(models.Model):
    """A key of a person's for their programs. Only a digest of it is stored."""

    PREFIX = "cs-"
    SHOWN_CHARS = 9
    PER_USER = 20

    class Scope(models.TextChoices):
        CHAT = "chat", _("ask, and read and cancel what was asked")
        MODELS = "models", _("list models")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(
        _("name"), max_length=80, help_text=_("What it is for, such as “nightly report”.")
    )
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(_("may"), default=every_scope)
    running_max = models.PositiveIntegerField(
        _("answers at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("Empty: as the settings say."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def make(cls, user: AbstractUser, name: str, *, expires_at: datetime | None = None) -> tuple[ApiKey, str]:
        """Return a new key's row, and the key itself, which cannot be had again.

        Raises RequestRefused: `empty` without a name, `too_many_keys`.
        """
        name = " ".join(clean(name).split())[:80]
        if not name:
            raise RequestRefused("empty", gettext("Give the key a name that says what it is for."))
        if cls.objects.valid().filter(user_id=user.pk).count() >= cls.PER_USER:
            raise RequestRefused(
                "too_many_keys",
                gettext("You have %(limit)s keys. Revoke one that is not needed any more.")
                % {"limit": cls.PER_USER},
            )
        key = cls.PREFIX + secrets.token_urlsafe(32)
        row = cls.objects.create(
            user_id=user.pk,
            name=name,
            prefix=key[: cls.SHOWN_CHARS],
            digest=cls._digest(key),
            expires_at=expires_at,
        )
        return row, key

    @staticmethod
    def _digest(key: str) -> str:
        return hashlib.sha256(key.encode(errors="replace")).hexdigest()

    @classmethod
    def find(cls, key: str) -> ApiKey | None:
        """Return the row of a key that is in force, with its person."""
        return cls.objects.valid().select_related("user").filter(digest=cls._digest(key)).first()

    @property
    def is_use_to_be_noted(self) -> bool:
        return self.last_used_at is None or timezone.now() - self.last_used_at > USE_NOTED_EVERY

    def note_use(self) -> None:
        ApiKey.objects.filter(pk=self.pk).update(last_used_at=timezone.now())

    def revoke(self) -> None:
        """Let it open no door any more."""
        ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())

    # -- limits ------------------------------------------------------------------------------------

    @property
    def running_limit(self) -> int:
        """How many answers it may have written at once."""
        return self.running_max or settings.RUNNING_PER_KEY

    def check_limits(self) -> None:
        """Raise RequestRefused: `too_many_running`, `too_many_asks`, if it may not ask for another answer now."""
        mine = Generation.objects.filter(api_key=self)
        if mine.active().count() >= self.running_limit:
            raise _too_many_running(
                gettext("This key has %(limit)s answers being written already. Wait for one, or cancel one."),
                self.running_limit,
            )
        of_person = Generation.objects.active().filter(user_id=self.user_id, api_key__isnull=False)
        if of_person.count() >= settings.API_RUNNING_PER_USER:
            raise _too_many_running(
                gettext("Your keys have %(limit)s answers being written already, together. Wait for one."),
                settings.API_RUNNING_PER_USER,
            )
        window = timezone.now() - timedelta(minutes=1)
        recent = mine.filter(created_at__gt=window).order_by("created_at")
        limit = settings.ASKS_PER_MINUTE_PER_KEY
        if recent.count() >= limit:
            first = recent.values_list("created_at", flat=True)[0]
            raise RequestRefused(
                "too_many_asks",
                gettext("That is more than %(limit)s requests in a minute with this key.") % {"limit": limit},
                retry_after_s=max(1.0, (first - window).total_seconds()),
            )


def _too_many_running(text: str, limit: int) -> RequestRefused:
    return RequestRefused("too_many_running", text % {"limit": limit}, retry_after_s=RUNNING_RETRY_AFTER_S)
