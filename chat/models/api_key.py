"""API keys: authentication, scopes and limits of programs."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from datetime import datetime, timedelta
from math import inf

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused
from chat.models.generation import Generation
from chat.models.limits import lock_user
from chat.text import clean

# `last_used_at` is updated at most this often.
USE_SAVED_EVERY = timedelta(minutes=1)
# Bounds of the Retry-After of a request that may not wait.
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1.0, 600.0


def every_scope() -> list[str]:
    return list(ApiKey.Scope.values)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def valid_ids(self, ids: set[int]) -> set[int]:
        """Return those of `ids` that are valid now."""
        return set(self.valid().filter(pk__in=ids).values_list("pk", flat=True))

    def valid(self) -> ApiKeyQuerySet:
        """Return keys that are neither revoked nor expired, of active users."""
        unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, revoked_at=None, user__is_active=True)


class ApiKey(models.Model):
    """A key by which a user's programs authenticate. Only its digest is stored."""

    PREFIX = "cs-"
    SHOWN_CHARS = 9
    PER_USER = 20

    # Set for one request: how long its client waits, and how long a request of this key runs on average.
    patience_s = inf
    answer_s = 5.0

    class Scope(models.TextChoices):
        CHAT = "chat", _("create, read and cancel generations")
        MODELS = "models", _("list models")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(
        _("name"), max_length=80, help_text=_("What the key is for, for example “nightly report”.")
    )
    prefix = models.CharField(_("prefix"), max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(_("scopes"), default=every_scope)
    running_max = models.PositiveIntegerField(
        _("concurrent requests"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("If empty, CHATSITE_RUNNING_PER_KEY applies."),
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
    @transaction.atomic
    def make(cls, user: AbstractUser, name: str, *, expires_at: datetime | None = None) -> tuple[ApiKey, str]:
        """Create a key; return its row and the key itself, which cannot be recovered later.

        Raises RequestRefused: `empty` without a name, `too_many_keys`.
        """
        name = " ".join(clean(name).split())[:80]
        if not name:
            raise RequestRefused("empty", gettext("Enter a name that says what the key is for."))
        lock_user(user.pk)
        if cls.objects.valid().filter(user_id=user.pk).count() >= cls.PER_USER:
            raise RequestRefused(
                "too_many_keys",
                gettext("You have reached the limit of %(limit)s keys. Revoke a key that you no longer use.")
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
    def find(cls, key: str, *, is_valid: bool = True) -> ApiKey | None:
        """Return the row of a key with its user. `is_valid`: return None for keys that are not valid."""
        rows = cls.objects.valid() if is_valid else cls.objects.all()
        return rows.select_related("user").filter(digest=cls._digest(key)).first()

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_use_outdated(self) -> bool:
        """Whether `last_used_at` should be updated."""
        return self.last_used_at is None or timezone.now() - self.last_used_at > USE_SAVED_EVERY

    def save_use(self) -> None:
        ApiKey.objects.filter(pk=self.pk).update(last_used_at=timezone.now())

    def revoke(self) -> None:
        """Make the key invalid from now on."""
        ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())

    @property
    def running_limit(self) -> int:
        """How many of its requests may run at the same time."""
        return self.running_max or settings.RUNNING_PER_KEY

    def check_limits(self) -> None:
        """Check the limits of this key and its user for one more request. The caller has called `lock_user`.

        Requests beyond a limit of concurrency wait. One is refused if too many wait already, or if its answer
        would come after `patience_s`. Raises RequestRefused: `too_many_running`, `too_many_asks`.
        """
        # One query for both limits, by user: the index of a key would also lead to all its earlier requests.
        active = Counter(
            Generation.objects.active()
            .filter(user_id=self.user_id, api_key__isnull=False)
            .exclude(source=Generation.Source.BATCH)
            .order_by()
            .values_list("api_key_id", flat=True)
        )
        self._check_wait(
            active[self.pk],
            self.running_limit,
            gettext("This key has %(limit)s concurrent requests, and %(waiting)s more are waiting."),
        )
        self._check_wait(
            active.total(),
            settings.API_RUNNING_PER_USER,
            gettext("Your API keys have %(limit)s concurrent requests together, and %(waiting)s more wait."),
        )
        window = timezone.now() - timedelta(minutes=1)
        recent = Generation.objects.filter(api_key=self, created_at__gt=window).order_by("created_at")
        recent = recent.exclude(source=Generation.Source.BATCH)
        limit = settings.ASKS_PER_MINUTE_PER_KEY
        if recent.count() >= limit:
            first = recent.values_list("created_at", flat=True)[0]
            raise RequestRefused(
                "too_many_asks",
                gettext("This key has reached its limit of %(limit)s requests per minute.")
                % {"limit": limit},
                retry_after_s=max(1.0, (first - window).total_seconds()),
            )

    def _check_wait(self, active: int, limit: int, text: str) -> None:
        """Refuse a request if too many of `active` wait for the others, or if its answer would come late."""
        waiting = active - limit
        if waiting < 0:
            return
        wait_s = (waiting + 1) * self.answer_s / limit
        too_late_s = wait_s + self.answer_s - self.patience_s
        if waiting >= settings.API_WAITING_PER_KEY:
            retry_after_s = wait_s / 10  # by then a tenth of the queue has been served
        elif too_late_s > 0:
            retry_after_s = too_late_s
        else:
            return
        message = text % {"limit": limit, "waiting": waiting}
        raise RequestRefused(
            "too_many_running",
            f"{message} {gettext('Try again later, or cancel some.')}",
            retry_after_s=min(max(retry_after_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S),
        )
