"""The settings of a conversation, and the theme of the pages."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from chat.models import Conversation
from chat.runtime.process import current_runtime
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.forms import ConfigureForm

THEMES = ("system", "light", "dark")
COOKIE_AGE_S = 400 * 24 * 3600  # the maximum that browsers allow


@signed_in("GET", "POST")
def configure(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show or save the model, system prompt and temperature of a conversation."""
    conversation = Conversation.get_for(request.user, pk)
    form = ConfigureForm(request.POST or None, instance=conversation)
    if request.method == "POST" and form.is_valid():
        conversation.save(update_fields=ConfigureForm.Meta.fields)
        current_runtime().notifications.changed(request.user.pk, pk, "configured")
        if request.htmx:
            response = HttpResponse()
            response["HX-Trigger"] = "dialog-done"
            return response
        return redirect("conversation", pk=pk)
    template = "chat/_configure.html" if request.htmx else "chat/configure.html"
    status = 422 if form.is_bound else 200
    return render(request, template, {"conversation": conversation, "form": form}, status=status)


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Store the theme in a cookie, so that the server renders the next page with it."""
    back = request.headers.get("referer", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        back = reverse("chat")
    response = HttpResponseRedirect(back)
    theme = request.POST.get("theme")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=COOKIE_AGE_S, samesite="Lax")
    return response
