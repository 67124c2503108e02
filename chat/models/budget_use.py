"""What was used of budgets, and what calls in progress hold of them.

A call reserves the most that it is likely to use, by one conditional UPDATE, and settles what it has used.
All functions that change something run in a transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, Q, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.errors import RequestRefused
from chat.models.attempt import Attempt
from chat.models.budget import MICRO_USD, Budget, midnight
from chat.models.embedding_call import EmbeddingCall
from chat.models.generation import Generation
from chat.models.process import Process

BUDGET_EXCEEDED = "budget_exceeded"
# Of PostgreSQL; any number that nothing else uses.
LOCK_ID = 72_736_102


class BudgetUse(models.Model):
    """One period of a budget. Amounts are tokens or millionths of a dollar, as the budget says."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="uses")
    # The user whose part it is; 0: all share it.
    member = models.PositiveBigIntegerField(default=0)
    starts_on = models.DateField(_("period from"))
    used = models.BigIntegerField(_("used"), default=0)
    # Held by calls in progress.
    reserved = models.BigIntegerField(_("reserved"), default=0)

    class Meta:
        ordering = ["-starts_on", "budget", "member"]
        constraints = [
            models.UniqueConstraint(fields=["budget", "member", "starts_on"], name="one_use_per_period")
        ]

    def __str__(self) -> str:
        return f"{self.budget}, {self.starts_on}"

    @property
    def member_user(self) -> AbstractUser | None:
        """The user whose part it is; None if all share it."""
        return get_user_model().objects.filter(pk=self.member).first() if self.member else None


class BudgetReservation(models.Model):
    """What one answer, or one request for embeddings, holds of a budget until it ends."""

    use = models.ForeignKey(BudgetUse, models.CASCADE, related_name="reservations")
    # Not a foreign key: the amount must not stay reserved when the row of the answer is deleted.
    generation_id = models.BigIntegerField(null=True, db_index=True)
    # For embeddings: the process that makes the call.
    owner = models.CharField(max_length=32, blank=True)
    amount = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.amount} of {self.use_id}"


class BudgetWarning(models.Model):
    """A user was told that much of a budget is used."""

    use = models.ForeignKey(BudgetUse, models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["use", "user"], name="one_warning_per_period")]

    def __str__(self) -> str:
        return f"{self.user_id} about {self.use_id}"


@dataclass(frozen=True, slots=True)
class CallAmounts:
    """What a call uses, or may use. `usd` None: the model has no prices."""

    tokens: int = 0
    usd: Decimal | None = None

    def of(self, budget: Budget) -> int:
        """Return the amount that counts against a budget."""
        if budget.unit == Budget.Unit.TOKENS:
            return self.tokens
        return 0 if self.usd is None else ceil(self.usd * MICRO_USD)


@dataclass(frozen=True, slots=True)
class HeldAmount:
    """What a call holds of one period of a budget."""

    budget: Budget
    use_id: int
    amount: int


class BudgetExceeded(RequestRefused):
    """A call does not fit into a budget.

    `fits_later`: it would fit if no other calls were in progress. `user_id`: set for bulk that waits.
    """

    def __init__(self, message: str, *, fits_later: bool) -> None:
        super().__init__(BUDGET_EXCEEDED, message)
        self.fits_later = fits_later
        self.user_id: int | None = None


def lock_budgets() -> None:
    """Let no other process change budgets until the transaction ends.

    A transaction of the writer changes the rows of several budgets, in the order in which its calls come: two
    processes would deadlock. SQLite has one writer at a time.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])


def open_uses(budgets: Iterable[Budget], user_id: int) -> list[HeldAmount]:
    """Return the current periods of budgets, with nothing held; create those that are new."""
    return [HeldAmount(budget, _use_id(budget, budget.member(user_id)), 0) for budget in budgets]


def _use_id(budget: Budget, member: int) -> int:
    starts_on = budget.starts_on()
    known = BudgetUse.objects.filter(budget=budget, member=member, starts_on=starts_on)
    found = known.values_list("pk", flat=True).first()
    if found is not None:
        return found
    is_new_budget = budget.created_at > midnight(starts_on)
    used = used_since(budget, member, starts_on) if is_new_budget else 0
    values = {"budget_id": budget.pk, "member": member, "starts_on": starts_on, "used": used, "reserved": 0}
    BudgetUse.objects.bulk_create([BudgetUse(**values)], ignore_conflicts=True)
    return known.values_list("pk", flat=True).get()


def used_since(budget: Budget, member: int, starts_on: date) -> int:
    """Return what was used before the budget existed: the whole period counts against it."""
    calls: Any = Q(generation__finished_at__gte=midnight(starts_on))
    embeddings = Q(created_at__gte=midnight(starts_on))
    if budget.scope == Budget.Scope.API_KEY:
        calls &= Q(generation__api_key_id=budget.api_key_id)
        embeddings &= Q(api_key_id=budget.api_key_id)
    elif budget.scope == Budget.Scope.GROUP and not member:
        calls &= Q(generation__user__groups=budget.group_id)
        embeddings &= Q(user__groups=budget.group_id)
    else:
        calls &= Q(generation__user_id=member or budget.user_id)
        embeddings &= Q(user_id=member or budget.user_id)
    found = Attempt.objects.filter(calls).aggregate(
        tokens=Coalesce(Sum("input_tokens"), 0) + Coalesce(Sum("output_tokens"), 0), usd=Sum("cost_usd")
    )
    embedded = EmbeddingCall.objects.filter(embeddings).aggregate(
        tokens=Coalesce(Sum("input_tokens"), 0), usd=Sum("cost_usd")
    )
    usd = (found["usd"] or Decimal(0)) + (embedded["usd"] or Decimal(0))
    return CallAmounts(found["tokens"] + embedded["tokens"], usd).of(budget)


def reserve(held: Sequence[HeldAmount], amounts: CallAmounts) -> list[HeldAmount]:
    """Hold `amounts` instead of what is held; return what is held then.

    Raises BudgetExceeded; nothing has changed then. A call of a model without prices holds no money.
    """
    with transaction.atomic():
        lock_budgets()
        return [_reserve_one(each, amounts.of(each.budget)) for each in held]


def _reserve_one(held: HeldAmount, amount: int) -> HeldAmount:
    more, limit = amount - held.amount, held.budget.limit
    table = BudgetUse._meta.db_table
    sql = f"UPDATE {table} SET reserved = reserved + %s WHERE id = %s"  # noqa: S608
    values = [more, held.use_id]
    if amount:
        sql += " AND used + reserved + %s <= %s"
        values += [more, limit]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        if not cursor.rowcount:
            raise _exceeded(held, amount)
    return replace(held, amount=amount)


def _exceeded(held: HeldAmount, amount: int) -> BudgetExceeded:
    budget = held.budget
    use = BudgetUse.objects.get(pk=held.use_id)
    others = use.reserved - held.amount
    shown = budget.shown
    places = {
        "budget": budget.name_for_user(),
        "used": budget.used_of_limit(use.used),
        "others": shown(others),
        "amount": shown(amount),
    }
    if use.used >= budget.limit:
        text = gettext("%(budget)s is used up: %(used)s.")
    elif others > 0:
        text = gettext(
            "%(budget)s has no room for this: %(used)s are used, answers in progress may take "
            "%(others)s, and this one up to %(amount)s."
        )
    else:
        text = gettext(
            "%(budget)s has no room for this: %(used)s are used, and this answer may take up to %(amount)s."
        )
    fits_later = use.used + amount <= budget.limit
    return BudgetExceeded(f"{text % places} {budget.renewal()}", fits_later=fits_later)


def charge(held: Sequence[HeldAmount], amounts: CallAmounts) -> None:
    """Add what a call has used; what is held stays held."""
    lock_budgets()
    for each in held:
        _change(each.use_id, used=amounts.of(each.budget), reserved=0)


def settle(held: Sequence[HeldAmount], amounts: CallAmounts) -> None:
    """Add what the last call has used, and hold nothing any more."""
    lock_budgets()
    for each in held:
        _change(each.use_id, used=amounts.of(each.budget), reserved=-each.amount)


def _change(use_id: int, *, used: int, reserved: int) -> None:
    table = BudgetUse._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET used = used + %s, reserved = reserved + %s WHERE id = %s",  # noqa: S608
            [used, reserved, use_id],
        )


def note_warning(held: Sequence[HeldAmount], user_id: int) -> str:
    """Return a sentence about a budget of which much is used, once in a period and to each user; or ""."""
    for each in held:
        use = BudgetUse.objects.get(pk=each.use_id)
        if use.used * 100 < each.budget.limit * each.budget.warning_percent:
            continue
        _row, is_new = BudgetWarning.objects.get_or_create(use=use, user_id=user_id)
        if is_new:
            text = gettext("%(budget)s is nearly used up: %(used)s.") % {
                "budget": each.budget.name_for_user(),
                "used": each.budget.used_of_limit(use.used),
            }
            return f"{text} {each.budget.renewal()}"
    return ""


def settle_abandoned(rows: int) -> int:
    """Settle up to `rows` reservations that nothing else will settle; return how many.

    Their answers have ended or were deleted, or the process that called for embeddings has died. What they
    used is unknown, so all that they held counts as used.
    """
    active = Generation.objects.active().filter(pk=OuterRef("generation_id"))
    living = Process.objects.filter(pk=OuterRef("owner"))
    is_abandoned = (Q(generation_id__isnull=False) & ~Exists(active)) | (~Q(owner="") & ~Exists(living))
    lock_budgets()
    found = list(BudgetReservation.objects.filter(is_abandoned).order_by("pk")[:rows])
    for each in found:
        _change(each.use_id, used=each.amount, reserved=-each.amount)
    BudgetReservation.objects.filter(pk__in=[each.pk for each in found]).delete()
    return len(found)


def remaining(user_id: int) -> list[tuple[Budget, BudgetUse]]:
    """Return the budgets of a user, those of their API keys included, and their current periods."""
    own = Budget.objects.applying_to(user_id, None)
    keys = Budget.objects.filter(api_key__user_id=user_id, api_key__revoked_at=None)
    found = []
    for budget in [*own, *keys.select_related("api_key").order_by("pk")]:
        use = budget.uses.filter(member=budget.member(user_id), starts_on=budget.starts_on()).first()
        if use is None:
            starts_on = budget.starts_on()
            used = used_since(budget, budget.member(user_id), starts_on)
            use = BudgetUse(budget=budget, starts_on=starts_on, used=used)
        found.append((budget, use))
    return found
