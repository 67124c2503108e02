"""What every API request passes first: method, API key and body size; and the headers of every response."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from chat.api import cors
from chat.api.errors import ApiError, internal_error
from chat.errors import RequestRefused
from chat.models import ApiKey
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

# Endpoints of OpenAI's API that clients may expect, and what does the same here.
INSTEAD = {
    "/v1/completions": "POST /v1/chat/completions, with the prompt as the message of a user,",
    "/v1/assistants": "POST /v1/chat/completions",
    "/v1/threads": "POST /v1/chat/completions",
}

type View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def api_view(**methods: View) -> View:
    """Return a view that calls the view of the request's method: `api_view(GET=show, POST=change)`.

    Exceptions become error responses in OpenAI's format.
    """

    @csrf_exempt
    async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase
        try:
            if cors.is_preflight(request):
                response = cors.preflight(request, methods)
            else:
                response = await _dispatch(methods, request, *args, **kwargs)
        except ApiError as error:
            response = error.as_response()
        except RequestRefused as refused:
            response = ApiError.of(refused).as_response()
        except Exception:
            logger.exception("an API request failed")
            response = internal_error().as_response()
        if response.status_code == 405:
            response["Allow"] = ", ".join(methods)
        # Errors are stored in the generation or were logged above: keep Django from logging them again.
        response._has_been_logged = True  # type: ignore[attr-defined]
        response["x-request-id"] = f"req_{secrets.token_hex(12)}"
        response["Cache-Control"] = "no-store"
        cors.add_headers(request, response)
        return response

    return view


async def _dispatch(
    methods: dict[str, View], request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    method = "GET" if request.method == "HEAD" else request.method
    view = methods.get(method or "")
    if view is not None:
        return await view(request, *args, **kwargs)
    raise ApiError(
        "method_not_allowed",
        _("%(path)s does not support %(method)s. Use %(methods)s.")
        % {"path": request.path, "method": request.method, "methods": " or ".join(methods)},
    )


async def authenticate(request: HttpRequest, scope: ApiKey.Scope) -> ApiKey:
    """Return the API key of a request. Raises ApiError: `invalid_api_key`, `insufficient_scope`."""
    return await key_of(request.headers.get("Authorization", ""), scope)


async def key_of(authorization: str, scope: ApiKey.Scope) -> ApiKey:
    """Return the API key in the value of an Authorization header. Raises as `authenticate`."""
    scheme, _space, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(
            "invalid_api_key",
            _("Send an API key as “Authorization: Bearer cs-…”. Create one on the “API keys” page."),
        )
    key: ApiKey | None = await database_sync_to_async(ApiKey.find)(token.strip())
    if key is None:
        raise ApiError("invalid_api_key", await database_sync_to_async(_why_invalid)(token.strip()))
    if scope not in key.scopes:
        raise ApiError(
            "insufficient_scope",
            _("This API key lacks the scope “%(scope)s”. Use another key.") % {"scope": scope.value},
        )
    if key.is_use_outdated:
        await current_runtime().writer.arun(key.save_use)
    return key


def _why_invalid(token: str) -> str:
    key = ApiKey.find(token, is_valid=False)
    if key is not None and key.revoked_at is not None:
        return _("This API key was revoked. Use another one.")
    if key is not None and key.is_expired:
        return _("This API key has expired. Use another one.")
    return _("This API key is not valid. Use another one.")


@csrf_exempt
async def unknown_url(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Respond with 404 in OpenAI's format, whatever the method."""
    return await api_view(**{request.method or "": _no_such_url})(request)


async def _no_such_url(request: HttpRequest) -> HttpResponseBase:
    message = _("There is no API endpoint at %(path)s. See /v1/openapi.json.")
    if not request.path.startswith("/v1"):
        message = _("There is no API endpoint at %(path)s. Its base URL ends with /v1: use /v1%(path)s.")
    elif request.path.rstrip("/") in INSTEAD:
        message = _("%(path)s is not supported. Use %(instead)s instead.")
    places = {"path": request.path, "instead": INSTEAD.get(request.path.rstrip("/"), "")}
    raise ApiError("unknown_url", message % places)
