"""Saying no, in OpenAI's shape: the right status, a code for machines, a sentence that says what to do."""

from __future__ import annotations

import math

import msgspec
from django.http import HttpResponse
from django.utils.translation import gettext as _

from chat.api import schemas as wire
from chat.errors import RequestRefused

# Refusals, and errors of a generation, by code: the status.
STATUS_OF = {
    "malformed_request": 400,
    "invalid_value": 400,
    "unknown_parameter": 400,
    "unsupported_parameter": 400,
    "bad_client_id": 400,
    "callback_not_allowed": 400,
    "fallback_not_allowed": 400,
    "rejected": 400,
    "context_too_long": 400,
    "content_filter": 400,
    "invalid_api_key": 401,
    "insufficient_scope": 403,
    "not_found": 404,
    "model_not_found": 404,
    "unknown_url": 404,
    "method_not_allowed": 405,
    "stopped": 409,
    "conflict": 409,
    "request_too_large": 413,
    "too_many_running": 429,
    "too_many_asks": 429,
    "rate_limited": 429,
    "internal": 500,
    "not_stored": 500,
    "demo_model_unavailable": 503,
    "busy": 503,
    "breaker_open": 503,
    "queue_full": 503,
    "restarting": 503,
    "connect_timeout": 504,
    "timeout": 504,
    "first_token_timeout": 504,
    "stalled": 504,
    "total_timeout": 504,
}
# Everything else that a generation fails of is a fault of its endpoint, or of our account there.
STATUS_OF_ENDPOINT = 502
CODE_OF = {"context_too_long": "context_length_exceeded", "too_many_asks": "rate_limit_exceeded"}
TYPE_OF = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
# A client's own retry may succeed. Everything else was tried again here as often as makes sense.
WORTH_A_RETRY = {"too_many_running", "too_many_asks", "rate_limited", "busy", "breaker_open", "queue_full"}
WORTH_A_RETRY |= {"restarting"}


class ApiError(Exception):
    """A request that is not carried out, or an answer that is not complete."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        generation: str | None = None,
    ) -> None:
        """`generation`: whose answer it is about, by its id on the wire."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.generation = generation

    @classmethod
    def of(cls, refused: RequestRefused) -> ApiError:
        return cls(refused.code, refused.message, retry_after_s=refused.retry_after_s)

    @property
    def status(self) -> int:
        return STATUS_OF.get(self.code, STATUS_OF_ENDPOINT)

    def as_wire(self) -> wire.Error:
        return wire.Error(
            message=self.message,
            type=TYPE_OF.get(self.status, "server_error"),
            param=self.param,
            code=CODE_OF.get(self.code, self.code),
            generation=self.generation or msgspec.UNSET,
        )

    def as_response(self) -> HttpResponse:
        response = json_response(wire.ErrorReply(self.as_wire()), status=self.status)
        if self.status == 401:
            response["WWW-Authenticate"] = "Bearer"
        if self.retry_after_s is not None:
            response["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.code not in WORTH_A_RETRY:
            response["x-should-retry"] = "false"
        return response


def json_response(value: msgspec.Struct, *, status: int = 200) -> HttpResponse:
    return HttpResponse(wire.encode(value), content_type="application/json", status=status)


def not_found() -> ApiError:
    return ApiError("not_found", _("There is no such generation among those of your keys."))
