"""Budgets: a form in which the defaults are a good first budget, and a list of what is used of each."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from chat.admin.autocomplete import AutocompleteAdmin
from chat.admin.logs import EMPTY_VALUE, ReadOnlyAdmin, StyledAdmin, number
from chat.models import Budget, BudgetUse, Model
from chat.models.budget_use import open_uses

SUBJECTS = {"user": Budget.Scope.USER, "group": Budget.Scope.GROUP, "api_key": Budget.Scope.API_KEY}
# Later a budget would mix what was used with another meaning.
FIXED = ["user", "group", "api_key", "is_shared", "unit", "period"]


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """The subject is the field that is filled in: a user, a group or a key; none: each user of the site."""

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.instance.pk is None:
            named = [name for name in SUBJECTS if data.get(name)]
            if len(named) > 1:
                raise ValidationError(
                    _("Choose a user, a group or an API key, not several. For several, add several budgets.")
                )
            self.instance.scope = SUBJECTS[named[0]] if named else Budget.Scope.EVERYONE
            if data.get("is_shared") and named != ["group"]:
                self.add_error("is_shared", _("Only the members of a group can share an amount."))
        amount = data.get("amount")
        unit = data.get("unit") or self.instance.unit
        if amount is not None and unit == Budget.Unit.TOKENS and amount != int(amount):
            self.add_error("amount", _("Enter a whole number of tokens."))
        return data


class BudgetUseInline(ReadOnlyAdmin, admin.TabularInline):  # type: ignore[type-arg]
    model = BudgetUse
    fields = ["starts_on", "member_name", "used_amount", "reserved_amount"]
    readonly_fields = ["starts_on", "member_name", "used_amount", "reserved_amount"]
    extra = 0
    verbose_name_plural = _("what was used")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BudgetUse]:
        found: QuerySet[BudgetUse] = super().get_queryset(request).select_related("budget")
        recent = found.order_by("-starts_on", "-used").values("pk")
        return found.filter(pk__in=list(recent[:50].values_list("pk", flat=True))).order_by(
            "-starts_on", "-used"
        )

    @admin.display(description=_("user"))
    def member_name(self, use: BudgetUse) -> str:
        return str(use.member_user or EMPTY_VALUE)

    @admin.display(description=_("used"))
    def used_amount(self, use: BudgetUse) -> str:
        return number(use.budget.shown(use.used))

    @admin.display(description=_("held by answers in progress"))
    def reserved_amount(self, use: BudgetUse) -> str:
        return number(use.budget.shown(use.reserved))


@admin.register(Budget)
class BudgetAdmin(StyledAdmin, AutocompleteAdmin, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    form = BudgetForm
    show_facets = admin.ShowFacets.NEVER
    list_display = ["__str__", "used_now", "highest_share", "warning_percent"]
    list_filter = ["scope", "unit", "period"]
    list_select_related = ["user", "group", "api_key"]
    search_fields = ["user__username", "group__name", "api_key__name"]
    autocomplete_fields = ["user", "group", "api_key"]
    inlines = [BudgetUseInline]
    change_list_template = "admin/chat/budget/change_list.html"
    fieldsets = [
        (
            _("For"),
            {
                "fields": ["user", "group", "api_key", "is_shared"],
                "description": _("Choose one. If all are empty, each user of the site has this budget."),
            },
        ),
        (
            _("Amount"),
            {
                "fields": ["amount", "unit", "period", "warning_percent"],
                "description": _(
                    "Ten dollars a month are enough for about a thousand ordinary questions to a mid-sized "
                    "model. Periods begin at midnight in the time zone of the site, weeks on Monday."
                ),
            },
        ),
    ]

    def get_form(
        self, request: HttpRequest, obj: Budget | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, without links to add or change a user, a group or a key."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        for name in SUBJECTS:
            if name in form.base_fields:
                widget = form.base_fields[name].widget
                widget.can_add_related = widget.can_change_related = widget.can_view_related = False
        return form

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        found: QuerySet[Budget] = super().get_queryset(request)
        starts = {Budget(period=period).starts_on() for period in Budget.Period}
        current = BudgetUse.objects.filter(starts_on__in=starts).order_by("-used")
        return found.prefetch_related(Prefetch("uses", current, to_attr="newest_uses"))

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> list[str]:
        return [] if obj is None else FIXED

    def get_inlines(self, request: HttpRequest, obj: Budget | None) -> list[Any]:
        return [] if obj is None else [BudgetUseInline]

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """Save a budget; what the period has used so far of an amount that is shared is read at once."""
        super().save_model(request, obj, form, change)
        if not obj.member(1):
            open_uses([obj], 0)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        unpriced = Model.objects.offered().filter(input_usd_per_million=None).order_by("name")
        names = [str(model) for model in unpriced.select_related("endpoint")[:6]]
        return super().changelist_view(request, {**(extra_context or {}), "unpriced": names})

    @admin.display(description=_("used in this period"))
    def used_now(self, budget: Budget) -> str:
        return number(budget.shown(sum(use.used for use in _current(budget))))

    @admin.display(description=_("highest share"))
    def highest_share(self, budget: Budget) -> str:
        """Show how much of the amount is used, by the user who used most if each has a part."""
        use = next(iter(_current(budget)), None)
        if use is None or not budget.limit:
            return EMPTY_VALUE
        percent = min(100, use.used * 100 // budget.limit)
        name = use.member_user
        return format_html(
            '<meter min="0" max="100" high="{}" value="{}">{} %</meter> {} %{}',
            budget.warning_percent,
            percent,
            percent,
            percent,
            f" ({name})" if name else "",
        )


def _current(budget: Budget) -> list[BudgetUse]:
    """Return the current period's rows, the one of which most is used first."""
    starts_on = budget.starts_on()
    return [use for use in getattr(budget, "newest_uses", ()) if use.starts_on == starts_on]
