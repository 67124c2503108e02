"""What operators can do: force breakers open, close them, and stop generations."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.models import BreakerOverride, Generation
from chat.runtime.process import current_runtime


def may_operate(user: AbstractUser | AnonymousUser) -> bool:
    """Return whether a user may use the actions: it takes the permission to change processes."""
    return user.has_perm("chat.change_process")


class OperatorActionForm(forms.Form):
    """One button of the Operations page, and the model or the generation that it acts on."""

    action = forms.ChoiceField(choices=[(name, name) for name in ("hold_open", "close", "stop")])
    endpoint = forms.CharField(max_length=80, required=False)
    model = forms.CharField(max_length=200, required=False)
    generation = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        required = ["generation"] if cleaned.get("action") == "stop" else ["endpoint", "model"]
        for name in required:
            if not cleaned.get(name):
                self.add_error(name, _("This field is required."))
        return cleaned

    def apply(self, operator: AbstractUser) -> str:
        """Store the action, which processes apply at their next tick. Return a message for the operator."""
        cleaned = self.cleaned_data
        if cleaned["action"] == "stop":
            return stop_generations(cleaned["generation"])
        is_held = cleaned["action"] == "hold_open"
        operation = BreakerOverride.hold_open if is_held else BreakerOverride.close
        current_runtime().writer.run(lambda: operation(cleaned["endpoint"], cleaned["model"], by=operator))
        if is_held:
            return _("Switched off: no calls are made to %(model)s until it is switched on.") % cleaned
        return _("Switched on: calls are made to %(model)s again.") % cleaned


def stop_generations(*ids: int) -> str:
    """Request a stop of generations of any user. Return a message for the operator."""
    count = current_runtime().writer.run(lambda: Generation.objects.filter(pk__in=ids).request_stop())
    if not count:
        return _("Already finished.")
    return ngettext(
        "Stop requested for %(count)d generation.", "Stop requested for %(count)d generations.", count
    ) % {"count": count}
