"""The HTTP response with a file: a picture to show, anything else to download, nothing that could run."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from itertools import chain, islice

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.attachment import Attachment
from chat.models.stored_content import StoredContent

logger = logging.getLogger(__name__)

# A file is never a page of this site, whatever it contains.
FILE_POLICY = "sandbox; default-src 'none'"


def file_response(request: HttpRequest, attachment: Attachment) -> HttpResponse:
    """Return an attachment's content. The caller has checked access.

    One whose storage does not answer is said to be unavailable. Raises RequestRefused `not_found`.
    """
    content = attachment.content
    if content is None:
        raise RequestRefused("not_found", _("This file does not exist."))
    etag = f'"{content.sha256}"'
    response: HttpResponseBase
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponse(status=HTTPStatus.NOT_MODIFIED)
    else:
        try:
            pieces = pieces_of(content)
        except RequestRefused as refused:
            return HttpResponse(refused.message, "text/plain; charset=utf-8", HTTPStatus.SERVICE_UNAVAILABLE)
        response = StreamingHttpResponse(_stream(pieces), content_type=attachment.media_type)
        response["Content-Length"] = str(content.size_bytes)
    response["ETag"] = etag
    response["Content-Security-Policy"] = FILE_POLICY
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    disposition = content_disposition_header(not attachment.is_image, attachment.name)
    response["Content-Disposition"] = disposition or "attachment"
    return response  # type: ignore[return-value]  # both kinds are responses; only the first is a HttpResponse


def pieces_of(content: StoredContent) -> Iterator[bytes]:
    """Return the content, of which the first piece is read. Raises RequestRefused `storage_unavailable`."""
    pieces = content.pieces()
    try:
        first = list(islice(pieces, 1))
    except OSError as exc:
        logger.error("content %s cannot be read: %s", content, exc)
        text = _("This file cannot be read at the moment. Try again later.")
        raise RequestRefused("storage_unavailable", text) from exc
    return chain(first, pieces)


async def _stream(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await database_sync_to_async(next)(pieces, None)) is not None:
        yield piece
