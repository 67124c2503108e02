"""Restrict views to signed-in users, and give refused requests an HTTP status."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from chat.errors import RequestRefused
from chat.models import Device


class AuthenticatedRequest(HttpRequest):
    """A request of a signed-in user.

    `htmx` is true when htmx or a script requests a fragment.
    """

    user: User
    htmx: HtmxDetails


type PageView = Callable[..., HttpResponse]

STATUS_OF = {
    "not_found": HTTPStatus.NOT_FOUND,
    "too_many_asks": HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_running": HTTPStatus.TOO_MANY_REQUESTS,
    "budget_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "storage_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(refused: RequestRefused) -> int:
    """Return the HTTP status for `refused.code`."""
    return STATUS_OF.get(refused.code, HTTPStatus.UNPROCESSABLE_ENTITY)


def account_page(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Restrict a page of the account to signed-in users; answer scripts that are signed out with 401."""

    @wraps(view)
    def wrapped(request: AuthenticatedRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _signed_out(request)
        return view(request, *args, **kwargs)

    return wrapped


def signed_in(*methods: str) -> Callable[[PageView], PageView]:
    """Restrict a view to signed-in users and to these HTTP methods.

    RequestRefused becomes a plain-text response. An object of another user is 404, like a missing one.
    """

    def decorate(view: PageView) -> PageView:
        @require_http_methods([*methods, "HEAD"] if "GET" in methods else list(methods))
        @wraps(view)
        def wrapped(request: AuthenticatedRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _signed_out(request)
            agent = request.headers.get("User-Agent", "")
            Device.note(request.user.pk, request.session.session_key, agent)
            try:
                response = view(request, *args, **kwargs)
            except RequestRefused as refused:
                if refused.code == "not_found":
                    raise Http404 from refused
                response = HttpResponse(refused.message, "text/plain; charset=utf-8", status_of(refused))
            # Shared caches must not keep a conversation. Pages and fragments can have the same address.
            patch_cache_control(response, private=True, no_cache=True)
            patch_vary_headers(response, ["HX-Request"])
            return response

        return wrapped

    return decorate


def _signed_out(request: AuthenticatedRequest) -> HttpResponse:
    if request.htmx:
        # A redirect would load the sign-in page into the fragment's place. The page shows its own message.
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    # The browser cannot return to the address of a POST after signing in.
    path = request.get_full_path() if request.method in {"GET", "HEAD"} else reverse("chat")
    return redirect_to_login(path)
