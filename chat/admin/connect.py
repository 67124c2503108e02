"""The guided form that connects models: the address and key of an endpoint, then the models that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.model_check.endpoint import EndpointLook, look_at
from chat.models import Endpoint, Model, key_variable
from chat.models.vision import makes_by_name, sees_by_name
from chat.text import clean
from chat.usage import known_prices
from chat.usage.known_prices import KnownPrices

ADDRESSES = (
    *("https://api.openai.com/v1", "https://openrouter.ai/api/v1", "https://api.mistral.ai/v1"),
    *("https://api.groq.com/openai/v1", "http://127.0.0.1:11434/v1", "http://127.0.0.1:8000/v1"),
)


class ConnectForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """An endpoint by its address and the variable of its key. `existing`: the row with that address."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=80,
        widget=forms.TextInput({"size": 50}),
        help_text=gettext_lazy("For staff. If empty, the host of the address."),
    )

    class Meta:
        model = Endpoint
        fields = ["base_url", "api_key_env", "name"]
        widgets = {
            "base_url": forms.TextInput({"list": "addresses", "placeholder": ADDRESSES[0], "size": 50}),
            "api_key_env": forms.TextInput(
                {"list": "variables", "placeholder": key_variable.OWN_KEY, "size": 50, "autocomplete": "off"}
            ),
        }
        help_texts = {
            "api_key_env": gettext_lazy(
                "The name of the environment variable with the key, not the key itself, "
                "which is never stored. Empty for a server that needs no key."
            )
        }

    existing: Endpoint | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        base_url = str(cleaned.get("base_url", "")).rstrip("/")
        variable = self._variable(cleaned.get("api_key_env"))
        rows = Endpoint.objects.filter(base_url__in=[base_url, f"{base_url}/"], api_key_env=variable)
        self.existing = rows.first()
        if variable and key_variable.is_allowed(variable) and not key_variable.key_of(variable):
            text = _("The server has no such variable. Set it where the server is started, and restart it.")
            self.add_error("api_key_env", text)
        if base_url and not cleaned.get("name"):
            cleaned["name"] = (urlsplit(base_url).hostname or base_url)[:80]
        if self.existing is None and Endpoint.objects.filter(name=cleaned.get("name")).exists():
            self.add_error("name", _("Another endpoint has this name."))
        return cleaned

    def _variable(self, name: str | None) -> str:
        """Return the name of a variable. What cannot be one is an error, not sent back: it may be a key.

        None: the field has an error already.
        """
        if name is not None and (not name or key_variable.NAME.fullmatch(name)):
            return name
        self.data = {each: self.data.get(each, "") for each in self.fields} | {"api_key_env": ""}
        if name is None:
            return ""
        text = _(
            "Enter the name of a variable, not the key itself. Put the key into .env on the server, "
            "for example as OPENAI_API_KEY=…, and restart it."
        )
        self.add_error("api_key_env", text)
        return ""

    def validate_unique(self) -> None:
        """The name is checked above, where an endpoint that exists already is no error."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that the endpoint has. `is_known`: it has a row already."""

    name: str
    context_tokens: int | None
    prices: KnownPrices | None
    is_known: bool


def connect_page(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Ask for an endpoint; look at it; store it with the models that were ticked. Raises PermissionDenied."""
    if not request.user.has_perms(["chat.add_endpoint", "chat.add_model"]):
        raise PermissionDenied
    initial = {name: request.GET.get(name, "") for name in ConnectForm.Meta.fields}
    form = ConnectForm(request.POST or None, initial=initial)
    look: EndpointLook | None = None
    if request.method == "POST" and form.is_valid():
        names = [name for each in request.POST.getlist("models") if (name := clean(each).strip())]
        if "add" in request.POST and names:
            return _added(request, form, names)
        values = form.cleaned_data
        look = look_at(values["base_url"].rstrip("/"), key_variable.key_of(values["api_key_env"]))
    found = _found(form, look) if look else []
    context = {
        **site.each_context(request),
        "title": _("Connect models"),
        "opts": Endpoint._meta,
        "form": form,
        "addresses": ADDRESSES,
        "variables": key_variable.set_names(),
        "look": look,
        "found": found,
        "has_contexts": any(each.context_tokens for each in found),
        "has_prices": any(each.prices for each in found),
        "is_none_ticked": "add" in request.POST,
    }
    return TemplateResponse(request, "admin/chat/endpoint/connect.html", context)


def _found(form: ConnectForm, look: EndpointLook) -> list[FoundModel]:
    endpoint = form.existing or Endpoint(base_url=form.cleaned_data["base_url"])
    known = set(endpoint.models.values_list("name", flat=True)) if endpoint.pk else set()
    return [
        FoundModel(
            each.name,
            each.context_tokens,
            known_prices.find(Model(endpoint=endpoint, name=each.name)),
            each.name in known,
        )
        for each in look.models
    ]


def _added(request: HttpRequest, form: ConnectForm, names: list[str]) -> HttpResponse:
    with transaction.atomic():
        endpoint = form.existing or form.save()
        added = [_add(request, endpoint, name) for name in names]
    count = sum(added)
    text = ngettext("%(count)d model was added.", "%(count)d models were added.", count) % {"count": count}
    messages.success(request, f"{text} " + _("Open one and check it to see what it accepts."))
    url = reverse("admin:chat_model_changelist", query={"endpoint__id__exact": endpoint.pk})
    return HttpResponseRedirect(url)


def _add(request: HttpRequest, endpoint: Endpoint, name: str) -> bool:
    """Store a model; return whether it is new. The first one of the site is what new conversations use."""
    context = request.POST.get(f"context:{name}", "")
    is_size = context.isascii() and context.isdigit() and len(context) < 10
    model = Model(
        endpoint=endpoint,
        name=name[:200],
        is_default=not Model.objects.offered().filter(is_default=True, is_demo=False).exists(),
        context_tokens=(int(context) or None) if is_size else None,
        sees_images=sees_by_name(name),
        makes_images=makes_by_name(name),
    )
    if endpoint.models.filter(name=model.name).exists():
        return False
    prices = known_prices.find(model)
    if prices is not None and request.POST.get("prices"):
        prices.apply(model)
    model.save()
    return True
