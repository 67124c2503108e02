"""The way in: the key, the method, the size of the body; and every reply's `x-request-id`."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from chat.api.errors import ApiError
from chat.errors import RequestRefused
from chat.models import ApiKey
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

type View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def entry(**methods: View) -> View:
    """Return a view that lets requests in to the view of their method: `entry(GET=show, POST=change)`.

    Whatever is raised is said in OpenAI's shape.
    """

    @csrf_exempt
    async def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            view = methods.get(request.method or "")
            if view is None:
                raise ApiError("method_not_allowed", _wrong_method(request, list(methods)))
            response = await view(request, *args, **kwargs)
        except ApiError as error:
            response = error.as_response()
        except RequestRefused as refused:
            response = ApiError.of(refused).as_response()
        except Exception:
            logger.exception("a request of the API could not be handled")
            response = ApiError(
                "internal", _("Something went wrong in this program. Try again.")
            ).as_response()
        if response.status_code == 405:
            response["Allow"] = ", ".join(methods)
        # It is in a row, or was logged above: not once more as a fault of this program.
        response._has_been_logged = True  # type: ignore[attr-defined]
        response["x-request-id"] = f"req_{secrets.token_hex(12)}"
        response["Cache-Control"] = "no-store"
        return response

    return entered


def _wrong_method(request: HttpRequest, methods: list[str]) -> str:
    return _("%(path)s takes %(methods)s, not %(method)s.") % {
        "path": request.path,
        "methods": " or ".join(methods),
        "method": request.method,
    }


async def key_of(request: HttpRequest, scope: ApiKey.Scope) -> ApiKey:
    """Return the key that a request came with. Raises ApiError: `invalid_api_key`, `insufficient_scope`."""
    kind, _space, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise ApiError(
            "invalid_api_key",
            _("Send an API key as “Authorization: Bearer cs-…”. People make keys on the page “API keys”."),
        )
    key: ApiKey | None = await database_sync_to_async(ApiKey.find)(token.strip())
    if key is None:
        raise ApiError(
            "invalid_api_key",
            _("This API key is not in force. It may have been revoked, or have expired. Use another one."),
        )
    if scope not in key.scopes:
        raise ApiError(
            "insufficient_scope",
            _("This API key may not do that: it lacks the scope “%(scope)s”. Use another key.")
            % {"scope": scope.value},
        )
    if key.is_use_outdated:
        await current_runtime().writer.arun(key.save_use)
    return key


def body_of(request: HttpRequest) -> bytes:
    """Return a request's body. Raises ApiError `request_too_large`."""
    limit = settings.API_BODY_MAX_BYTES
    body: bytes = request.read(limit + 1)
    if len(body) > limit:
        raise ApiError(
            "request_too_large",
            _("A request may have %(limit)s bytes. Send smaller or fewer images, or less text.")
            % {"limit": limit},
        )
    return body


@csrf_exempt
async def unknown(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Say that there is nothing, whatever the method."""
    return await entry(**{request.method or "": _nothing})(request)


async def _nothing(request: HttpRequest) -> HttpResponseBase:
    raise ApiError(
        "unknown_url", _("There is nothing at %(path)s. See /v1/openapi.json.") % {"path": request.path}
    )
