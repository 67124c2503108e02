"""The library of a user: prompts to send again, and presets to start with."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.errors import RequestRefused
from chat.models import Conversation, Preset, SavedPrompt
from chat.models.limits import not_found
from chat.models.preset import ENTRIES_MAX
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.forms import CleanedField, ModelMenuForm

# What one slash offers.
OFFERED_MAX = 1_000


class PromptForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = SavedPrompt
        fields = ["name", "text"]
        field_classes = {"name": CleanedField, "text": CleanedField}
        widgets = {"text": forms.Textarea(attrs={"rows": 8, "dir": "auto"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)


class PresetForm(ModelMenuForm):
    class Meta:
        model = Preset
        fields = ["name", "model", "system_prompt", "temperature"]
        field_classes = {"name": CleanedField, "system_prompt": CleanedField}
        help_texts = {
            "temperature": gettext_lazy(
                "Lower is more predictable, higher more varied. Empty: the model's default."
            )
        }
        widgets = {
            "system_prompt": forms.Textarea(attrs={"rows": 8, "dir": "auto"}),
            "temperature": forms.NumberInput(attrs={"min": 0, "max": 2, "step": 0.1, "inputmode": "decimal"}),
        }


type EntryForm = type[PromptForm | PresetForm]
FORMS: dict[str, EntryForm] = {"prompts": PromptForm, "presets": PresetForm}


@signed_in("GET")
def library(request: AuthenticatedRequest) -> HttpResponse:
    """List the user's prompts and presets, and those that staff share."""
    context = {
        "prompts": list(SavedPrompt.objects.usable_by(request.user)),
        "presets": list(Preset.objects.usable_by(request.user).select_related("model")),
    }
    return render(request, "accounts/library.html", context)


@signed_in("GET", "POST")
def entry(request: AuthenticatedRequest, kind: str, pk: int | None = None) -> HttpResponse:
    """Show, save or delete a prompt or a preset of the user; create one without `pk`."""
    form_class = FORMS[kind]
    table: type[SavedPrompt | Preset] = form_class.Meta.model
    found = None if pk is None else table.objects.of(request.user).filter(pk=pk).first()
    if pk is not None and found is None:
        raise not_found()
    if request.method == "POST" and request.POST.get("action") == "delete" and found is not None:
        found.delete()
        messages.info(request, _("“%(name)s” was deleted.") % {"name": found.name})
        return redirect("library")
    initial = _of_conversation(request) if kind == "presets" and found is None else {}
    form = form_class(request.POST or None, instance=found or table(user=request.user), initial=initial)
    if request.method == "POST" and form.is_valid():
        if found is None and table.objects.of(request.user).count() >= ENTRIES_MAX:
            raise RequestRefused("too_many", _("The library is full. Delete something first."))
        form.save()
        messages.info(request, _("Saved."))
        return redirect("library")
    context = {"form": form, "entry": found, "kind": kind}
    return render(request, "accounts/library_entry.html", context, status=422 if form.is_bound else 200)


def _of_conversation(request: AuthenticatedRequest) -> dict[str, Any]:
    """Return what a new preset begins with: the settings of the user's conversation in `?of=`."""
    if "of" not in request.GET:
        return {}
    conversation = Conversation.get_for(request.user, request.GET["of"])
    fields = ("system_prompt", "temperature", "model")
    return {name: getattr(conversation, name) for name in fields}


@signed_in("GET")
def offered(request: AuthenticatedRequest) -> HttpResponse:
    """Return the prompts as JSON, for the composer: [{name, text}], by name."""
    prompts = SavedPrompt.objects.usable_by(request.user)[:OFFERED_MAX]
    return JsonResponse([{"name": each.name, "text": each.text} for each in prompts], safe=False)
