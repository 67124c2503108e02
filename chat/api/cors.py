"""Pages of other origins that may call the API from a browser. Off unless CHATSITE_API_ORIGINS names some."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

EXPOSED = "x-request-id, x-generation-id, x-should-retry, Retry-After, Location"
PREFLIGHT_MAX_AGE_S = 600


def allowed_origin(request: HttpRequest) -> str | None:
    """Return the origin of a request if its pages may call the API."""
    origin = request.headers.get("Origin", "")
    return origin if origin in settings.API_ORIGINS else None


def is_preflight(request: HttpRequest) -> bool:
    """Whether a browser asks if a page may send a request."""
    return (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and allowed_origin(request) is not None
    )


def preflight(request: HttpRequest, methods: Iterable[str]) -> HttpResponse:
    """Answer such a question. API keys are sent as a header, so no cookie is ever needed."""
    response = HttpResponse(status=204)
    response["Access-Control-Allow-Methods"] = ", ".join(methods)
    response["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
    response["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    return response


def add_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let an allowed page read a response."""
    if not settings.API_ORIGINS:
        return
    patch_vary_headers(response, ["Origin"])
    origin = allowed_origin(request)
    if origin is not None:
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = EXPOSED
