"""Files that users add to messages: upload, and reading one's own."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from chat.attachments.upload import store_upload
from chat.errors import RequestRefused
from chat.models import Attachment, StoredContent
from chat.models.attachment import NAME_MAX_CHARS
from chat.runtime.process import current_runtime
from chat.text import clean
from chat.views.access import AuthenticatedRequest, signed_in

# A file is never a page of this site, whatever it contains.
FILE_POLICY = "sandbox; default-src 'none'"


@signed_in("POST")
def upload(request: AuthenticatedRequest) -> HttpResponse:
    """Store the body as a file of the user, and describe it. `?name=`: its name."""
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > settings.ATTACHMENT_MAX_BYTES:
        raise RequestRefused("too_large", _("This file is too large."))
    attachment = store_upload(
        current_runtime().writer,
        request.user,
        request,
        name=file_name(request.GET.get("name", "")),
        declared_type=clean(request.content_type or "")[:100],
    )
    return JsonResponse(described(attachment), status=HTTPStatus.CREATED)


def file_name(name: str) -> str:
    """Return a file's name for people: without folders, and without characters that are not seen."""
    last = clean(name).replace("\\", "/").rpartition("/")[2]
    seen = "".join(" " if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"} else each for each in last)
    return " ".join(seen.split())[:NAME_MAX_CHARS] or _("file")


def described(attachment: Attachment) -> dict[str, Any]:
    """Return what the page's scripts know of an attachment."""
    return {
        "id": str(attachment.pk),
        "name": attachment.name,
        "kind": attachment.kind,
        "summary": attachment.summary,
        "notes": attachment.notes,
        "url": reverse("attachment", args=[attachment.pk]),
        "width": attachment.width,
        "height": attachment.height,
    }


@signed_in("GET")
def show(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return a file of the user: a picture to show, anything else to download."""
    return file_response(request, Attachment.objects.get_for(request.user, pk))


def file_response(request: AuthenticatedRequest, attachment: Attachment) -> HttpResponse:
    """Return an attachment's content. The caller has checked access. Raises RequestRefused `not_found`."""
    content = attachment.content
    if content is None:
        raise RequestRefused("not_found", "")
    etag = f'"{content.sha256}"'
    response: HttpResponseBase
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponse(status=HTTPStatus.NOT_MODIFIED)
    else:
        response = StreamingHttpResponse(_stream(content), content_type=attachment.media_type)
        response["Content-Length"] = str(content.size_bytes)
    response["ETag"] = etag
    response["Content-Security-Policy"] = FILE_POLICY
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    disposition = content_disposition_header(not attachment.is_image, attachment.name)
    response["Content-Disposition"] = disposition or "attachment"
    return response  # type: ignore[return-value]  # both kinds are responses; only the first is a HttpResponse


async def _stream(content: StoredContent) -> AsyncIterator[bytes]:
    pieces = content.pieces()
    while (piece := await database_sync_to_async(next)(pieces, None)) is not None:
        yield piece
