"""Who may see a page, and what a refusal looks like in HTTP."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from chat.errors import RequestRefused


class AuthedRequest(HttpRequest):
    """A request of a signed-in person. `htmx` is true when a page asks for a fragment of itself."""

    user: User
    htmx: HtmxDetails


type View = Callable[..., HttpResponse]

STATUS_OF = {
    "not_found": HTTPStatus.NOT_FOUND,
    "too_many_asks": HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_running": HTTPStatus.TOO_MANY_REQUESTS,
}


def status_of(refused: RequestRefused) -> int:
    """Return the HTTP status that says the same as `refused.code`."""
    return STATUS_OF.get(refused.code, HTTPStatus.UNPROCESSABLE_ENTITY)


def signed_in(*methods: str) -> Callable[[View], View]:
    """Let signed-in people in, by these methods; what is not theirs is not there: 404."""

    def decorate(view: View) -> View:
        @require_http_methods([*methods, "HEAD"] if "GET" in methods else list(methods))
        @wraps(view)
        def wrapped(request: AuthedRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _signed_out(request)
            try:
                response = view(request, *args, **kwargs)
            except RequestRefused as refused:
                if refused.code == "not_found":
                    raise Http404 from refused
                response = HttpResponse(refused.message, "text/plain; charset=utf-8", status_of(refused))
            # Nobody else's cache may keep a conversation; one address answers pages and fragments.
            patch_cache_control(response, private=True, no_cache=True)
            patch_vary_headers(response, ["HX-Request"])
            return response

        return wrapped

    return decorate


def _signed_out(request: AuthedRequest) -> HttpResponse:
    if request.htmx:
        # A redirect would put the sign-in page where the fragment goes; the page says it itself.
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    # A POST's address cannot be visited after signing in.
    path = request.get_full_path() if request.method in {"GET", "HEAD"} else reverse("chat")
    return redirect_to_login(path)
