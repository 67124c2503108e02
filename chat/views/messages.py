"""One message: its article, its text, and which of its versions is shown."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from chat import notifications
from chat.models import Message
from chat.views.access import AuthedRequest, signed_in
from chat.views.transcript import entries_of


@signed_in("GET")
def message(request: AuthedRequest, pk: int) -> HttpResponse:
    """Answer with the article of one message, final or in mid-answer."""
    found = Message.get_for(request.user, pk)
    [entry] = entries_of([found])
    if not entry.is_active:
        found.conversation.mark_seen()
    return render(request, "chat/_message.html", {"entry": entry})


@signed_in("GET")
def source(request: AuthedRequest, pk: int) -> HttpResponse:
    """Answer with the text of one message as it was written, for copying."""
    found = Message.get_for(request.user, pk)
    return HttpResponse(found.text, "text/plain; charset=utf-8")


@signed_in("POST")
def select(request: AuthedRequest, pk: int) -> HttpResponse:
    """Show the branch of one version."""
    found = Message.get_for(request.user, pk)
    found.conversation.select(found)
    notifications.changed(request.user.pk, found.conversation_id, "selected")
    if request.htmx:
        return HttpResponse(status=204)
    return HttpResponseRedirect(reverse("conversation", args=[found.conversation_id]) + f"#m{pk}")
