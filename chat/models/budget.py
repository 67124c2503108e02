"""Budgets: how much a user, the members of a group, or an API key may use in a day, a week or a month."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.models.presence import Presence

# Amounts are added up as whole numbers: tokens, or millionths of a dollar.
MICRO_USD = 1_000_000
# Dollars are shown with so many decimals where less than a cent matters.
CENT = Decimal("0.01")


class BudgetQuerySet(models.QuerySet["Budget"]):
    def applying_to(self, user_id: int, api_key_id: int | None) -> BudgetQuerySet:
        """Return the budgets that a call of this user counts against, in the order of their ids."""
        groups = get_user_model().groups.through.objects.filter(user_id=user_id).values("group_id")
        applies = Q(user_id=user_id) | Q(group_id__in=groups) | Q(scope=Budget.Scope.EVERYONE)
        if api_key_id is not None:
            applies |= Q(api_key_id=api_key_id)
        return self.filter(applies).select_related("user", "group", "api_key").order_by("pk")


class Budget(models.Model):
    """A limit. What was used of it is in `BudgetUse`, one row for each period and, where each member has
    a part of their own, for each member.
    """

    class Scope(models.TextChoices):
        EVERYONE = "everyone", _("each user of the site")
        USER = "user", _("one user")
        GROUP = "group", _("a group")
        API_KEY = "api_key", _("an API key")

    class Period(models.TextChoices):
        DAY = "day", _("day")
        WEEK = "week", _("week")
        MONTH = "month", _("month")

    class Unit(models.TextChoices):
        USD = "usd", _("US dollars")
        TOKENS = "tokens", _("tokens")

    scope = models.CharField(_("for"), max_length=10, choices=Scope, default=Scope.EVERYONE)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    group = models.ForeignKey("auth.Group", models.CASCADE, null=True, blank=True, related_name="budgets")
    api_key = models.ForeignKey(
        "chat.ApiKey",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="budgets",
        verbose_name=_("API key"),
    )
    is_shared = models.BooleanField(
        _("shared by the group"),
        default=False,
        help_text=_("All members share one amount. Otherwise each member has the whole amount."),
    )
    amount = models.DecimalField(
        _("amount"),
        max_digits=16,
        decimal_places=6,
        default=Decimal(10),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(1_000_000_000))],
    )
    unit = models.CharField(_("unit"), max_length=6, choices=Unit, default=Unit.USD)
    period = models.CharField(_("per"), max_length=5, choices=Period, default=Period.MONTH)
    warning_percent = models.PositiveSmallIntegerField(
        _("warn at (%)"),
        default=80,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("The chat page says once in a period that so much of the amount is used."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects = BudgetQuerySet.as_manager()

    class Meta:
        ordering = ["scope", "pk"]
        constraints = [
            models.CheckConstraint(
                name="budget_has_its_subject",
                condition=(
                    Q(scope="everyone", user=None, group=None, api_key=None)
                    | Q(scope="user", user__isnull=False, group=None, api_key=None)
                    | Q(scope="group", user=None, group__isnull=False, api_key=None)
                    | Q(scope="api_key", user=None, group=None, api_key__isnull=False)
                ),
            ),
        ]

    def __str__(self) -> str:
        return gettext("%(amount)s per %(period)s for %(subject)s") % {
            "amount": self.shown(self.limit),
            "period": self.get_period_display(),
            "subject": self.subject,
        }

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        presence.note(any_exist=True)

    @property
    def subject(self) -> str:
        """Whom the budget is for, for staff."""
        match self.scope:
            case self.Scope.USER:
                return str(self.user)
            case self.Scope.API_KEY:
                return str(self.api_key)
            case self.Scope.GROUP:
                text = (
                    gettext("all of %(group)s together") if self.is_shared else gettext("each of %(group)s")
                )
                return text % {"group": self.group}
            case _:
                return gettext("each user")

    @property
    def limit(self) -> int:
        """The amount in tokens, or in millionths of a dollar."""
        return int(self.amount * MICRO_USD if self.unit == self.Unit.USD else self.amount)

    def member(self, user_id: int) -> int:
        """Return whose part of the budget a user's call counts against; 0: all share it."""
        has_parts = self.scope == self.Scope.EVERYONE or (
            self.scope == self.Scope.GROUP and not self.is_shared
        )
        return user_id if has_parts else 0

    # -- the period, in the site's time zone ----------------------------------------------------------

    def starts_on(self, now: datetime | None = None) -> date:
        """Return the first day of the current period. Weeks begin on Monday."""
        today = timezone.localdate(now)
        if self.period == self.Period.WEEK:
            return today - timedelta(days=today.weekday())
        return today.replace(day=1) if self.period == self.Period.MONTH else today

    def renews_on(self, now: datetime | None = None) -> date:
        """Return the first day of the next period."""
        start = self.starts_on(now)
        if self.period == self.Period.MONTH:
            return (start + timedelta(days=32)).replace(day=1)
        return start + timedelta(days=7 if self.period == self.Period.WEEK else 1)

    # -- for people ---------------------------------------------------------------------------------

    def shown(self, amount: int) -> str:
        """Return an amount of this budget's unit for people."""
        if self.unit == self.Unit.TOKENS:
            return gettext("%(number)s tokens") % {"number": number_format(amount, force_grouping=True)}
        return shown_usd(Decimal(amount) / MICRO_USD)

    def used_of_limit(self, used: int) -> str:
        """Return what is used, of the whole amount, for people."""
        is_tokens = self.unit == self.Unit.TOKENS
        number = number_format(used, force_grouping=True) if is_tokens else self.shown(used)
        return gettext("%(used)s of %(limit)s") % {"used": number, "limit": self.shown(self.limit)}

    def name_for_user(self) -> str:
        """Return the name of the budget at the beginning of a sentence to its user."""
        adjectives = {"day": gettext("daily"), "week": gettext("weekly"), "month": gettext("monthly")}
        places = {"period": adjectives[self.period], "group": self.group, "key": self.api_key}
        if self.scope == self.Scope.API_KEY:
            return gettext("The %(period)s budget of the API key “%(key)s”") % places
        if self.scope == self.Scope.GROUP and self.is_shared:
            return gettext("The %(period)s budget that the group “%(group)s” shares") % places
        if self.scope == self.Scope.GROUP:
            return gettext("Your %(period)s budget as a member of “%(group)s”") % places
        return gettext("Your %(period)s budget") % places

    def renewal(self, now: datetime | None = None) -> str:
        """Return when the budget renews, with the time zone."""
        return gettext("It renews on %(date)s at %(time)s (%(zone)s).") % {
            "date": date_format(self.renews_on(now), "j F Y"),
            "time": "00:00",
            "zone": settings.TIME_ZONE,
        }


def midnight(day: date) -> datetime:
    """Return the beginning of a day in the site's time zone."""
    return timezone.make_aware(datetime.combine(day, time.min))


def shown_usd(usd: Decimal) -> str:
    """Return dollars for people: with cents, and in more detail below ten cents."""
    digits = 2 if not usd or abs(usd) >= 10 * CENT else 4
    return f"${number_format(usd, digits, force_grouping=True)}"


# Without any budget, no call pays for them.
presence = Presence(lambda: Budget.objects.order_by().exists())
