"""Pages for what went wrong: what happened, what to do, never a traceback."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose token is missing or old: mostly a page that was open while somebody signed in."""
    return render(request, "403_csrf.html", status=HTTPStatus.FORBIDDEN)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer after an exception. Whatever is broken must not break this page as well."""
    try:
        # Without the request: context processors may ask the database, which may be what is broken.
        page = render_to_string("500.html")
    except Exception:  # noqa: BLE001  # the exception that matters is logged already
        words = "Something went wrong on the server. Please try again in a moment."
        return HttpResponse(words, "text/plain; charset=utf-8", HTTPStatus.INTERNAL_SERVER_ERROR)
    return HttpResponse(page, status=HTTPStatus.INTERNAL_SERVER_ERROR)
