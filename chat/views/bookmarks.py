"""Bookmarks of messages: set, removed and listed."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render

from chat.models import Bookmark
from chat.models.bookmark import BOOKMARKS_MAX
from chat.views.access import AuthenticatedRequest, signed_in
from chat.views.transcript import address_of


@signed_in("POST")
def bookmark(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Mark a message, or take the mark off with `off`. Return the button for what comes next."""
    is_marked = "off" not in request.POST
    message = Bookmark.put(request.user, pk, is_marked=is_marked)
    if request.htmx:
        return render(request, "chat/_bookmark.html", {"message_id": pk, "is_bookmarked": is_marked})
    if request.POST.get("off") == "list":
        return redirect("bookmarks")
    return HttpResponseRedirect(address_of(message))


@signed_in("GET")
def bookmarks(request: AuthenticatedRequest) -> HttpResponse:
    """List the bookmarks, newest first."""
    return render(
        request, "chat/bookmarks.html", {"bookmarks": Bookmark.objects.of(request.user)[:BOOKMARKS_MAX]}
    )
