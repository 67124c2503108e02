"""Who read the user's conversations, if the site shows that (CHATSITE_ACCESS_VISIBLE)."""

from __future__ import annotations

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render

from chat.models import AccessRecord, Conversation
from chat.views.access import AuthenticatedRequest, signed_in

ROWS = 50


@signed_in("GET")
def accesses(request: AuthenticatedRequest) -> HttpResponse:
    """List each access of staff to the user's conversations, newest first."""
    if not settings.ACCESS_VISIBLE_TO_USERS:
        raise Http404
    records = AccessRecord.objects.filter(subject_id=request.user.pk).order_by("-number")
    page = Paginator(records, ROWS).get_page(request.GET.get("page"))
    own = Conversation.objects.of(request.user).in_bulk(
        [record.conversation_id for record in page if record.conversation_id]
    )
    rows = [(record, own.get(record.conversation_id)) for record in page]
    return render(request, "accounts/accesses.html", {"page": page, "rows": rows})
