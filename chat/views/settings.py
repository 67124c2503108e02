"""The settings page: what a user has set for all conversations and on this device."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Device, Preferences
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.forms import CleanedField, ModelMenuForm
from chat.views.preferences import COOKIE_AGE_S, THEMES

ENTER = ("sends", "breaks")
WIDTHS = ("usual", "broad")


class PreferencesForm(ModelMenuForm):
    first_name = CleanedField(
        label=gettext_lazy("What Chatsite calls you"),
        max_length=150,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "given-name"}),
    )

    class Meta:
        model = Preferences
        fields = ["text_size", "model", "instructions"]
        field_classes = {"instructions": CleanedField}
        labels = {"model": gettext_lazy("Model of new chats")}
        help_texts = {
            "instructions": gettext_lazy(
                "The system prompt of new chats, such as “I am a nurse. Answer briefly, in metric units.” "
                "Each chat can change it."
            )
        }
        widgets = {"instructions": forms.Textarea(attrs={"rows": 6, "dir": "auto"})}

    field_order = ["first_name", "text_size", "model", "instructions"]


@signed_in("GET", "POST")
def settings(request: AuthenticatedRequest) -> HttpResponse:
    """Show or save the settings. Theme and Enter are of this device, so they are cookies."""
    preferences = Preferences.of(request.user)
    initial = {"first_name": request.user.first_name}
    form = PreferencesForm(request.POST or None, instance=preferences, initial=initial)
    if request.method == "POST" and form.is_valid():
        form.save()
        User.objects.filter(pk=request.user.pk).update(first_name=form.cleaned_data["first_name"])
        messages.info(request, _("Saved."))
        response: HttpResponse = redirect("settings")
        for name, values in (("theme", THEMES), ("enter", ENTER), ("width", WIDTHS)):
            if request.POST.get(name) in values:
                response.set_cookie(name, request.POST[name], max_age=COOKIE_AGE_S, samesite="Lax")
        return response
    context = {
        "form": form,
        "enter": request.COOKIES.get("enter", "sends"),
        "devices": Device.of(request.user),
        "session_key": request.session.session_key,
    }
    return render(request, "accounts/settings.html", context, status=422 if form.is_bound else 200)
