"""Export one conversation: the choice of a format, and the file."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header

from chat.models import Conversation
from chat.transfer.export import ConversationFile
from chat.views.access import AuthenticatedRequest, signed_in

_TYPES = {"md": "text/markdown", "html": "text/html", "json": "application/json"}


@signed_in("GET")
def choose(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show the formats of an export."""
    context = {"conversation": Conversation.get_for(request.user, pk)}
    return render(request, "chat/_export.html" if request.htmx else "chat/export.html", context)


@signed_in("GET")
def export(request: AuthenticatedRequest, pk: uuid.UUID, ending: str) -> HttpResponse:
    """Download a conversation. `ending`: md, html or json."""
    if ending not in _TYPES:
        raise Http404
    exported = ConversationFile(Conversation.get_for(request.user, pk))
    page = partial(exported.as_html, with_pictures=True)
    writers: dict[str, Callable[[], str]] = {
        "md": exported.as_markdown,
        "html": page,
        "json": exported.as_json,
    }
    response = HttpResponse(writers[ending](), f"{_TYPES[ending]}; charset=utf-8")
    name = content_disposition_header(as_attachment=True, filename=exported.file_name(ending))
    response["Content-Disposition"] = name
    response["Cache-Control"] = "no-store"
    return response
