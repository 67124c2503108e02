"""Shared links: making one, the list of one's own, and the public page."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from chat.attachments.serving import file_response
from chat.errors import RequestRefused
from chat.models import Attachment, Conversation, Generation, ImportedMessage, Message, SharedLink
from chat.rendering import render as rendered
from chat.views.access import AuthenticatedRequest, signed_in, status_of

# Days, and their names; the last one: it does not expire.
EXPIRIES = {"1": _("in a day"), "7": _("in a week"), "30": _("in a month"), "": _("never")}
DEFAULT_EXPIRY = "7"


@dataclass(frozen=True, slots=True)
class SharedMessage:
    """A message as the public page shows it."""

    message: Message
    model_name: str
    files: Sequence[Attachment] = ()

    @property
    def html(self) -> str:
        return self.message.html or rendered(self.message.text)


@signed_in("GET", "POST")
def share(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Show the links of a conversation; POST makes another one."""
    conversation = Conversation.get_for(request.user, pk)
    refused = None
    if request.method == "POST":
        days = request.POST.get("days")
        days = days if days in EXPIRIES else DEFAULT_EXPIRY
        try:
            name = _name_of(request.user) if request.POST.get("with_name") else ""
            SharedLink.make(
                request.user,
                conversation,
                days=int(days) if days else None,
                owner_name=name,
                with_files=bool(request.POST.get("with_files")),
            )
            return redirect("share", pk=pk)
        except RequestRefused as error:
            refused = error
    links = SharedLink.objects.of(request.user).filter(conversation=conversation)
    context = {
        "conversation": conversation,
        "links": links,
        "expiries": EXPIRIES,
        "refused": refused,
        "name": _name_of(request.user),
        "site": _site(request),
    }
    return render(request, "accounts/share.html", context, status=status_of(refused) if refused else 200)


@signed_in("GET")
def shared_links(request: AuthenticatedRequest) -> HttpResponse:
    """List one's links."""
    links = SharedLink.objects.of(request.user).select_related("conversation")
    context = {"links": links, "site": _site(request)}
    return render(request, "accounts/shared_links.html", context)


@signed_in("POST")
def revoke(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Revoke a link. Its page is gone at once."""
    found = SharedLink.objects.of(request.user).filter(pk=pk).first()
    if found is None:
        raise RequestRefused("not_found", "")
    found.delete()
    if request.POST.get("next") == "conversation":
        return redirect("share", pk=found.conversation_id)
    return redirect("shared_links")


@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """Show what a link shares, to everybody. A link that was revoked or has expired is 404."""
    link = SharedLink.objects.open().filter(token=token).select_related("conversation").first()
    if link is None:
        response = render(request, "404.html", status=404)
    else:
        response = render(request, "shared.html", {"link": link, "shown": _shown(link)})
    return _unkept(response)


@require_safe
def shared_file(request: HttpRequest, token: str, pk: uuid.UUID) -> HttpResponse:
    """Return a file of a message that a link shows, if it shows files; else 404."""
    link = SharedLink.objects.open().filter(token=token, with_files=True).first()
    file = None if link is None else link.file(pk)
    if file is None:
        return _unkept(render(request, "404.html", status=404))
    return _unkept(file_response(request, file))


def _unkept(response: HttpResponse) -> HttpResponse:
    """Keep a response out of caches and search engines: it ends with its link."""
    response["Cache-Control"] = "no-store"
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _shown(link: SharedLink) -> list[SharedMessage]:
    messages = link.messages()
    files = link.files(messages)
    runs = Generation.objects.filter(message__in=messages).order_by("pk")
    names = dict(runs.values_list("message_id", "model_name"))
    imported = ImportedMessage.objects.filter(message__in=messages)
    names |= dict(imported.values_list("message_id", "model_name"))
    shown = (SharedMessage(each, names.get(each.pk, ""), files.get(each.pk, ())) for each in messages)
    return [each for each in shown if each.message.text or each.files]


def _name_of(user: AbstractUser) -> str:
    return user.get_full_name() or user.get_username()


def _site(request: HttpRequest) -> str:
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
