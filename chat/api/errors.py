"""Error responses in OpenAI's format: a status, a code for programs, and a message for developers."""

from __future__ import annotations

import math

import msgspec
from django.http import HttpResponse
from django.utils.translation import gettext as _

from chat.api import schemas as wire
from chat.errors import RequestRefused

# HTTP statuses of refused requests and of generation errors, by our code.
STATUS_OF = {
    "malformed_request": 400,
    "invalid_value": 400,
    "unknown_parameter": 400,
    "unsupported_parameter": 400,
    "bad_client_id": 400,
    "callback_not_allowed": 400,
    "invalid_input": 400,
    "invalid_file": 400,
    "too_many_files": 400,
    "fallback_not_allowed": 400,
    "rejected": 400,
    "context_too_long": 400,
    "content_filter": 400,
    "invalid_api_key": 401,
    "insufficient_scope": 403,
    "previous_response_not_found": 400,
    "not_found": 404,
    "model_not_found": 404,
    "unknown_url": 404,
    "method_not_allowed": 405,
    "stopped": 409,
    "conflict": 409,
    "attachment_gone": 409,
    "wrong_status": 409,
    "request_too_large": 413,
    "too_many_running": 429,
    "too_many_asks": 429,
    "rate_limited": 429,
    "budget_exceeded": 429,
    "internal": 500,
    "not_stored": 500,
    "demo_model_unavailable": 503,
    "busy": 503,
    "storage_unavailable": 503,
    "breaker_open": 503,
    "queue_full": 503,
    "restarting": 503,
    "connect_timeout": 504,
    "timeout": 504,
    "first_token_timeout": 504,
    "stalled": 504,
    "total_timeout": 504,
}
# All other generation errors are faults of the model's endpoint, or of the account there.
STATUS_OF_ENDPOINT = 502
# Our codes that OpenAI's protocol names differently.
CODE_OF = {
    "context_too_long": "context_length_exceeded",
    "too_many_asks": "rate_limit_exceeded",
    # Clients that know OpenAI's protocol do not try again after it.
    "budget_exceeded": "insufficient_quota",
}
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
# Errors whose type is not that of their status.
TYPE_OF_CODE = {"budget_exceeded": "insufficient_quota"}
# Errors after which a client may try again, and whose message says so.
RETRYABLE = frozenset(
    {
        *(
            "too_many_running",
            "too_many_asks",
            "rate_limited",
            "busy",
            "storage_unavailable",
            "breaker_open",
            "queue_full",
            "restarting",
        ),
        # Errors of an endpoint that may be gone the next time.
        *("server_error", "unreachable", "connect_timeout", "cut", "malformed", "not_a_stream", "bad_stream"),
        *("streamed_error", "stalled", "timeout", "first_token_timeout", "process_lost"),
    }
)


class ApiError(Exception):
    """A rejected request, or a generation that did not complete."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        generation: str | None = None,
    ) -> None:
        """`generation`: the wire id of the generation that the error is about."""
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
            type=TYPE_OF_CODE.get(self.code) or TYPE_OF.get(self.status, "server_error"),
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
        if self.code not in RETRYABLE:
            response["x-should-retry"] = "false"
        return response


def json_response(value: msgspec.Struct, *, status: int = 200) -> HttpResponse:
    return HttpResponse(wire.encode(value), content_type="application/json", status=status)


def not_found() -> ApiError:
    return ApiError("not_found", _("This generation does not exist, or your API keys have no access to it."))


def internal_error(generation: str = "") -> ApiError:
    return ApiError(
        "internal", _("Internal server error. See the server's log for details."), generation=generation
    )


def unknown_model(name: str, param: str | None = None) -> ApiError:
    return ApiError(
        "model_not_found",
        _("The model “%(name)s” does not exist. GET /v1/models lists the available models.")
        % {"name": name[:100]},
        param=param,
    )
