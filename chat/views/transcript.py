"""Views of a conversation's messages: older ones, the newest ones, the outline, the way to one of them."""

from __future__ import annotations

import uuid

from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse

from chat.models import Conversation, Message
from chat.models.title import title_from
from chat.transcript.messages import PAGE_MESSAGES, message_page
from chat.views.access import AuthenticatedRequest, signed_in

# A page that leads to an older message also shows this many of those after it.
MESSAGES_AFTER = 10
# The outline of a conversation reads so many messages at most, the newest ones.
OUTLINE_MESSAGES = 2_000


def address_of(message: Message) -> str:
    """Return the address of the page that shows this message, which may be old or on another branch."""
    conversation = message.conversation
    address = reverse("conversation", args=[conversation.pk])
    if message not in conversation.path(limit=PAGE_MESSAGES):
        address += f"?until={conversation.messages.newest_end(message.pk, limit=MESSAGES_AFTER)}"
    return f"{address}#m{message.pk}"


def number_from(data: QueryDict, name: str) -> int | None:
    """Return a whole number of a query string or a form; None if absent or invalid."""
    value = data.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


@signed_in("GET")
def older(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the messages before `?before=`."""
    conversation = Conversation.get_for(request.user, pk)
    messages = message_page(conversation, before=number_from(request.GET, "before"))
    return render(request, "chat/_messages.html", {"transcript": messages})


@signed_in("GET")
def transcript(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the newest messages, at most `?limit=`, to update an open page."""
    conversation = Conversation.get_for(request.user, pk)
    limit = min(number_from(request.GET, "limit") or PAGE_MESSAGES, PAGE_MESSAGES)
    return render(
        request, "chat/_messages.html", {"transcript": message_page(conversation, limit=max(limit, 1))}
    )


@signed_in("GET")
def outline(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """List the user's questions on the shown branch, each with the way to it."""
    conversation = Conversation.get_for(request.user, pk)
    path = conversation.path(limit=OUTLINE_MESSAGES)
    questions = [
        {"pk": message.pk, "text": title_from(message.text) or "…"}
        for message in path
        if message.role == Message.Role.USER
    ]
    template = "chat/_outline.html" if request.htmx else "chat/outline.html"
    return render(request, template, {"conversation": conversation, "questions": questions})


@signed_in("GET")
def find(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Redirect to the page that shows a message, such as the one that a search found."""
    return redirect(address_of(Message.get_for(request.user, pk)))
