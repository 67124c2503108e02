"""Django's ASGI handler, which also answers requests that Django cannot read."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chat.views.errors import bad_request
from chatsite.threads import RequestThreads

FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
FORM_CHARSETS = frozenset({"utf-8", "ascii"})


# What is answered on the event loop: the API, whose requests wait for models, and static files.
ON_THE_LOOP = ("/v1/", f"/{settings.STATIC_URL.lstrip('/')}")


class PageHandler(BaseHandler):
    """Django's middleware and views as plain functions."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()


class SiteHandler(ASGIHandler):
    """Keeps the threads of requests; rejects an invalid head by a page or, in the API, by JSON.

    A page is made in one visit to its thread. Django would go there and back for the view and for nearly each
    middleware, which takes longer than many of the pages.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = RequestThreads()
        self._pages = PageHandler()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(ON_THE_LOOP):
            return await super().get_response_async(request)
        return await sync_to_async(self._pages.get_response)(request)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._threads.run(partial(self.handle, scope, receive, send))

    def create_request(
        self, scope: Mapping[str, Any], body_file: Any
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        try:
            request, response = super().create_request(scope, body_file)
            if request is not None:
                _check_charset(request)
                return request, None
        except (BadRequest, ValueError) as error:
            return None, bad_request(None, error, path=scope["path"])
        if response is None or response.status_code == HTTPStatus.BAD_REQUEST:
            return None, bad_request(None, BadRequest("not UTF-8"), path=scope["path"])
        return None, response


def _check_charset(request: ASGIRequest) -> None:
    """Raise BadRequest if a form is not in UTF-8, as all pages of this site send it.

    Django hands the name on to the code that decodes the form. With any other of Python's codecs, such as
    rot13, that fails. The body of the API is JSON, whatever its charset says.
    """
    charset = (request.content_params or {}).get("charset")
    if charset is None:
        return
    request.encoding = "utf-8"
    try:
        is_accepted = codecs.lookup(charset).name in FORM_CHARSETS
    except LookupError:
        is_accepted = False
    if request.content_type in FORM_TYPES and not is_accepted:
        raise BadRequest("a form must be in UTF-8")
