"""The page on which users download what belongs to them, or have it erased."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from chat.attachments.own_files import write_attachments
from chat.batches.own_files import write_batches
from chat.models import Attachment
from chat.review import own_data
from chat.tasks import clean_up
from chat.views.access import AuthenticatedRequest, account_page, signed_in


@signed_in("GET", "POST")
def page(request: AuthenticatedRequest) -> HttpResponse:
    """Show the page; POST erases what the form names, if it repeats the username."""
    error = ""
    if request.method == "POST":
        with_account = request.POST.get("what") == "account"
        if request.POST.get("username", "").strip() != request.user.get_username():
            error = _("Type your username to confirm.")
        elif with_account and request.user.is_superuser:
            error = _("An owner's account can only be deleted by another owner, in the admin.")
        else:
            is_held = own_data.erase(request.user, with_account=with_account)
            transaction.on_commit(clean_up.enqueue, robust=True)
            if with_account:
                logout(request)
                return redirect("signin")
            text = _("Your conversations are being erased.")
            if is_held:
                text += " " + _("Some must be kept for legal reasons, and are erased after that.")
            messages.info(request, text)
            return redirect("own_data")
    context = {
        "error": error,
        "username": request.user.get_username(),
        "used_bytes": Attachment.objects.bytes_of(request.user),
        "quota_bytes": settings.ATTACHMENT_QUOTA_BYTES,
    }
    return render(request, "accounts/own_data.html", context, status=422 if error else 200)


@account_page
@require_POST
def download(request: AuthenticatedRequest) -> HttpResponseBase:
    """Download the ZIP."""
    name = f"chatsite-{timezone.localdate():%Y-%m-%d}.zip"
    parts = own_data.zip_of(request.user, write_batches, write_attachments)
    response = StreamingHttpResponse(_stream(parts), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


async def _stream(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the parts. Each is made in a database thread; none is made ahead of the client."""
    while (part := await database_sync_to_async(_next)(parts)) is not None:
        yield part


def _next(parts: Iterator[bytes]) -> bytes | None:
    return next(parts, None)
