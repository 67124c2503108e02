"""Files that users add to messages: upload, and reading one's own."""

from __future__ import annotations

import unicodedata
import uuid
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from chat.attachments.serving import file_response
from chat.attachments.upload import store_upload
from chat.errors import RequestRefused
from chat.models import Attachment
from chat.models.attachment import NAME_MAX_CHARS
from chat.runtime.process import current_runtime
from chat.text import clean
from chat.views.access import AuthenticatedRequest, signed_in


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
        # Whether only a model that sees can read it: a picture, or a scan.
        "seen": attachment.is_image or not attachment.text,
        "notes": attachment.notes,
        "url": reverse("attachment", args=[attachment.pk]),
        "width": attachment.width,
        "height": attachment.height,
    }


@signed_in("GET")
def show(request: AuthenticatedRequest, pk: uuid.UUID) -> HttpResponse:
    """Return a file of the user: a picture to show, anything else to download."""
    return file_response(request, Attachment.objects.get_for(request.user, pk))
