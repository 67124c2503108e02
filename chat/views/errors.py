"""Error pages. They say what happened and what to do, and never show a traceback."""

from __future__ import annotations

from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from chat.runtime import http_limits
from chat.views import origins


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Reject a form with a missing or outdated CSRF token, or from an unknown address."""
    address = origins.unknown_address(request)
    if address:
        origins.report(address)
    context = {"address": address, "public_url": settings.PUBLIC_URL}
    return render(request, "403_csrf.html", context, status=HTTPStatus.FORBIDDEN)


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond to an unhandled exception, without using anything that may be broken."""
    try:
        # Without the request, because context processors may query a database that is down.
        page = render_to_string("500.html")
    except Exception:  # noqa: BLE001  # the original exception is already logged
        text = "Something went wrong on the server. Please try again in a moment."
        return HttpResponse(text, "text/plain; charset=utf-8", HTTPStatus.INTERNAL_SERVER_ERROR)
    return HttpResponse(page, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def bad_request(request: HttpRequest | None, exception: Exception, *, path: str = "") -> HttpResponse:
    """Reject a request that cannot be read, or names a host that is not of this site.

    `request` is None, and only `path` is known, if its head cannot be read. Errors of the API are JSON.
    """
    path = request.path if request is not None else path
    status = HTTPStatus.BAD_REQUEST
    if isinstance(exception, RequestDataTooBig):
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if path.startswith(http_limits.API_PATH) or status != HTTPStatus.BAD_REQUEST:
        reason = _("The server could not understand it. Check the address, the host name and the headers.")
        headers, text = http_limits.refusal(path, status, reason)
        return HttpResponse(text, status=status, headers=headers)
    # Without the request: the context processors read its host, which may be what is wrong.
    return HttpResponse(render_to_string("400.html"), status=status)
