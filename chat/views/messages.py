"""Views of one message: its article, its source text, the choice of a version."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from chat.models import Message
from chat.runtime.process import current_runtime
from chat.transcript.messages import message_view
from chat.views.access import AuthenticatedRequest, signed_in


@signed_in("GET")
def message(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Return the article of one message, whether its answer is final or in progress."""
    view = message_view(request.user, pk)
    view.note_seen(view.message.conversation)
    return render(request, "chat/_message.html", {"view": view})


@signed_in("GET")
def source(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Return the unrendered text of one message, for copying."""
    found = Message.get_for(request.user, pk)
    return HttpResponse(found.text, "text/plain; charset=utf-8")


@signed_in("POST")
def select(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Switch the conversation to the branch of this version."""
    found = Message.get_for(request.user, pk)
    found.conversation.select(found)
    current_runtime().notifications.changed(request.user.pk, found.conversation_id, "selected")
    if request.htmx:
        return HttpResponse(status=204)
    return HttpResponseRedirect(reverse("conversation", args=[found.conversation_id]) + f"#m{pk}")
